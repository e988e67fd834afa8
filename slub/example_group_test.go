package slub_test

import (
	"errors"
	"fmt"
	"log"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/slub"
)

// Two tenants share an arena. Together they may use 8 MiB, and the first one 1 MiB: when it has
// reached that, its allocations fail, and the other one goes on.
func ExampleNewGroup() {
	memory, err := arena.New(arena.Config{Name: "tenants", Span: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	all, err := slub.NewGroup(slub.GroupConfig{Name: "tenants", Limit: 8 << 20})
	if err != nil {
		log.Fatal(err)
	}
	small, err := slub.NewGroup(slub.GroupConfig{Name: "small", Parent: all, Limit: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	large, err := slub.NewGroup(slub.GroupConfig{Name: "large", Parent: all})
	if err != nil {
		log.Fatal(err)
	}
	sessions, err := slub.New(memory, slub.Config{Name: "session", Size: 1024, Group: small})
	if err != nil {
		log.Fatal(err)
	}
	values, err := slub.NewBuckets(memory, slub.BucketsConfig{Name: "value", Group: large})
	if err != nil {
		log.Fatal(err)
	}

	var held []unsafe.Pointer
	var full *slub.GroupError
	for full == nil {
		p, err := sessions.Alloc()
		if err != nil && !errors.As(err, &full) {
			log.Fatal(err)
		}
		if err == nil {
			held = append(held, p)
		}
	}
	fmt.Printf("group %q is full: %d of %d bytes\n", full.Refused, full.InUse, full.Limit)
	value, err := values.Malloc(2 << 20)
	fmt.Println("the other one goes on:", err)
	fmt.Println("together:", all.Stats().Bytes >= 3<<20-4096)

	sessions.FreeBulk(held)
	values.Free(value)
	fmt.Println("closed:", errors.Join(sessions.Close(), values.Close(), small.Close(), large.Close(), all.Close(), memory.Close()))
	// Output:
	// group "small" is full: 1048576 of 1048576 bytes
	// the other one goes on: <nil>
	// together: true
	// closed: <nil>
}
