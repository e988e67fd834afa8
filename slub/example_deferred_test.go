package slub_test

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

// A handle is a Go value that owns an object off-heap. When the collector finds that the handle is
// no longer reachable it runs the cleanup, on a goroutine that all cleanups share and that should
// not be kept waiting.
func ExampleCache_FreeDeferred() {
	buffers, err := slub.New(nil, slub.Config{Name: "buffer", Size: 2000})
	if err != nil {
		fmt.Println(err)
		return
	}
	type handle struct{ buffer unsafe.Pointer }
	open := func() *handle {
		p, err := buffers.Alloc()
		if err != nil {
			fmt.Println(err)
			return nil
		}
		h := &handle{p}
		runtime.AddCleanup(h, buffers.FreeDeferred, p)
		return h
	}
	runtime.KeepAlive(open())
	for buffers.Stats().InUse > 0 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	fmt.Println(buffers.Stats().InUse, "in use")
	fmt.Println(buffers.Close())
	// Output:
	// 0 in use
	// <nil>
}
