package slub_test

import (
	"fmt"
	"log"

	"github.com/slubd/slubd/slub"
)

// A worker with a Local: the pairs of Alloc and Free that most of its work consists of are a few
// inlined instructions. The Local exchanges objects with the cache, which others use as well.
func ExampleCache_NewLocal() {
	cache, err := slub.New(nil, slub.Config{Name: "event", Size: 96})
	if err != nil {
		log.Fatal(err)
	}
	shared, err := cache.Alloc() // freed by the worker
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan error)
	go func() {
		local, err := cache.NewLocal(0)
		if err != nil {
			done <- err
			return
		}
		defer close(done)
		defer local.Close()
		for range 1000 {
			event, err := local.Alloc()
			if err != nil {
				done <- err
				return
			}
			local.Free(event)
		}
		local.Free(shared)
	}()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	fmt.Println("in use:", cache.Stats().InUse)
	fmt.Println("closed:", cache.Close())
	// Output:
	// in use: 0
	// closed: <nil>
}
