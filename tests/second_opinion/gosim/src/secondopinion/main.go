// SPDX-FileCopyrightText: fleetcare.esxi contributors
// SPDX-License-Identifier: GPL-3.0-or-later

// A vCenter with hosts, or one host, as govmomi's authors imagine it, over TLS on loopback.
// Prints one line of JSON when it is ready; ends on SIGTERM, or when its standard input closes.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmware/govmomi/simulator"
)

func main() {
	esx := flag.Bool("esx", false, "one stand-alone host instead of a vCenter")
	hosts := flag.Int("hosts", 3, "hosts of the vCenter: one by itself, the others in a cluster")
	cert := flag.String("cert", "", "PEM file of the server's certificate")
	key := flag.String("key", "", "PEM file of its private key")
	user := flag.String("user", "user", "the only user name that may log in")
	password := flag.String("password", "pass", "its password")
	flag.Parse()

	model := simulator.VPX()
	if *esx {
		model = simulator.ESX()
	} else {
		model.Host = 1
		model.ClusterHost = *hosts - 1
	}
	defer model.Remove()
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}

	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(*user, *password)}
	server := model.Service.NewServer()
	defer server.Close()

	address := *server.URL
	address.User = nil
	ready := map[string]string{"url": address.String(), "username": *user, "password": *password}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		log.Fatal(err)
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop <- syscall.SIGTERM
	}()
	<-stop
}
