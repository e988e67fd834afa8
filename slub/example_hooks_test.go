package slub_test

import (
	"fmt"
	"log"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/slub"
)

// Hooks count a cache's objects and hear of misuse. Without a Report hook a free of what is no
// object panics.
func ExampleConfig_hooks() {
	var live atomic.Int64
	messages, err := slub.New(nil, slub.Config{Name: "message", Size: 128, Hooks: hooks.Hooks{
		Alloc: func(hooks.Object) { live.Add(1) },
		Free: func(hooks.Object) (keep bool) {
			live.Add(-1)
			return false // true would keep the object from reuse
		},
		Report: func(r *hooks.Report) { fmt.Println("refused:", r.Kind) },
	}})
	if err != nil {
		log.Fatal(err)
	}
	p, err := messages.Alloc()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("live:", live.Load())
	messages.Free(unsafe.Add(p, 8)) // not the start of an object
	messages.Free(p)
	fmt.Println("live:", live.Load())
	fmt.Println("closed:", messages.Close())
	// Output:
	// live: 1
	// refused: misaligned pointer
	// live: 0
	// closed: <nil>
}
