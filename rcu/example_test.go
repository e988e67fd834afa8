package rcu_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/slubd/slubd/rcu"
)

// A route table that one goroutine reads without a lock and another replaces. The old table may be
// used again once no reader can hold it.
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
	domain.Defer(func() { fmt.Println("no reader holds", old.gateway) })
	if err := domain.Barrier(context.Background()); err != nil {
		fmt.Println(err)
	}

	packets <- "second"
	fmt.Println(<-sent)
	close(packets)
	<-sent
	// Output:
	// first via 10.0.0.1
	// no reader holds 10.0.0.1
	// second via 10.0.0.2
}

// A request handler reads without being registered. What it found stays valid until Exit.
func ExampleDomain_Enter() {
	type limits struct{ perSecond int }
	var (
		domain  rcu.Domain
		current atomic.Pointer[limits]
	)
	current.Store(&limits{perSecond: 100})
	handle := func() int {
		defer domain.Enter().Exit()
		return current.Load().perSecond
	}
	fmt.Println(handle())

	old := current.Swap(&limits{perSecond: 200})
	if err := domain.Synchronize(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println("no reader holds", old.perSecond)
	fmt.Println(handle())
	// Output:
	// 100
	// no reader holds 100
	// 200
}

// An event loop takes the events that are there, reports every 64 rounds, and blocks offline.
func ExampleReader_Loop() {
	var domain rcu.Domain
	events, sum := make(chan int, 3), 0
	events <- 1
	events <- 2
	events <- 3
	close(events)
	domain.Run("summer", func(r *rcu.Reader) {
		r.Loop(func() bool {
			select {
			case n, ok := <-events:
				sum += n
				return ok
			default:
				return false
			}
		}, func() bool {
			n, ok := <-events // blocks; no grace period waits for this reader
			sum += n
			return ok
		})
	})
	fmt.Println(sum)
	// Output: 6
}
