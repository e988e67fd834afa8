package rcu_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/slubd/slubd/rcu"
)

// A route table that one goroutine reads without a lock and another replaces.
// The old table may be used again once no reader can hold it.
func Example() {
	type table struct{ gateway string }
	var (
		domain rcu.Domain
		routes atomic.Pointer[table]
	)
	routes.Store(&table{gateway: "10.0.0.1"})

	packets, sent := make(chan string), make(chan string)
	go func() {
		reader := domain.Register("forwarder")
		defer reader.Close()
		defer close(sent)
		for {
			reader.Offline() // the channels may block for long
			packet, ok := <-packets
			if !ok {
				return
			}
			reader.Online()
			gateway := routes.Load().gateway
			reader.Offline()
			sent <- packet + " via " + gateway
		}
	}()

	packets <- "first"
	fmt.Println(<-sent)

	old := routes.Swap(&table{gateway: "10.0.0.2"})
	domain.Defer(func() { fmt.Println("nobody holds", old.gateway) })
	if err := domain.Barrier(context.Background()); err != nil {
		fmt.Println(err)
	}

	packets <- "second"
	fmt.Println(<-sent)
	close(packets)
	<-sent
	// Output:
	// first via 10.0.0.1
	// nobody holds 10.0.0.1
	// second via 10.0.0.2
}
