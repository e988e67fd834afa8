package slub_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"
	"unsafe"

	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// A split of a tree's node needs up to three new nodes, and must not fail half way. Prefill gets
// them all before the first change, or returns an error.
func ExampleCache_Prefill() {
	nodes, err := slub.New(nil, slub.Config{Name: "node", Size: 256})
	if err != nil {
		log.Fatal(err)
	}
	loan, err := nodes.Prefill(3)
	if err != nil {
		log.Fatal(err) // nothing has been changed yet
	}
	var split []unsafe.Pointer
	for range 2 {
		split = append(split, loan.Alloc()) // the first three can't fail
	}
	fmt.Println("enough left:", loan.Len() >= 1)
	loan.Return() // what is left goes back to the cache
	nodes.FreeBulk(split)
	fmt.Println("closed:", nodes.Close())
	// Output:
	// enough left: true
	// closed: <nil>
}

// A worker that is pinned to a node keeps its objects there. AllocNode never returns an object of
// another node.
func ExampleCache_AllocNode() {
	buffers, err := slub.New(nil, slub.Config{Name: "buffer", Size: 2048})
	if err != nil {
		log.Fatal(err)
	}
	for _, node := range numa.System().Nodes() {
		p, err := buffers.AllocNode(node)
		if errors.Is(err, slub.ErrNoMemory) {
			continue // a node without memory
		}
		if err != nil {
			log.Fatal(err)
		}
		if got := buffers.Arena().NodeOf(uintptr(p)); got != node {
			fmt.Println("on node", got, "instead of", node)
		}
		buffers.Free(p)
	}
	fmt.Println("closed:", buffers.Close())
	// Output:
	// closed: <nil>
}

// Close waits for readers, however long they take. A daemon that has to end gives CloseContext a
// deadline, and learns which reader is in the way.
func ExampleCache_CloseContext() {
	domain := new(rcu.Domain)
	sessions, err := slub.New(nil, slub.Config{Name: "session", Size: 96, Domain: domain})
	if err != nil {
		log.Fatal(err)
	}
	p, err := sessions.Alloc()
	if err != nil {
		log.Fatal(err)
	}
	reader := domain.Register("slow client") // online, and does not report
	sessions.FreeRCU(p)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	err = sessions.CloseContext(ctx)
	cancel()
	fmt.Println("deadline exceeded:", errors.Is(err, context.DeadlineExceeded))

	reader.Close() // holds nothing from here on
	fmt.Println("closed:", sessions.CloseContext(context.Background()))
	// Output:
	// deadline exceeded: true
	// closed: <nil>
}
