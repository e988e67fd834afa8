package slub_test

import (
	"fmt"
	"log"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

// A record owns a name of any length. The record and the name are off-heap, and neither costs the
// garbage collector anything.
func ExampleSlice() {
	type record struct {
		id   uint64
		name slub.Slice
	}
	records, err := slub.NewTyped[record](nil, slub.Config{Name: "record", RCUDtor: func(p unsafe.Pointer) {
		(*record)(p).name.FreeDeferred() // a destructor must not wait
	}})
	if err != nil {
		log.Fatal(err)
	}
	r, err := records.Alloc()
	if err != nil {
		log.Fatal(err)
	}
	name := "a name whose length is known only now"
	if r.name, err = slub.NewSlice(len(name)); err != nil {
		log.Fatal(err)
	}
	copy(r.name.Bytes(), name)
	fmt.Printf("%s, %d bytes\n", r.name.Bytes(), r.name.Len())
	records.FreeRCU(r) // the destructor frees the name when no reader can hold the record
	fmt.Println("closed:", records.Close())
	// Output:
	// a name whose length is known only now, 37 bytes
	// closed: <nil>
}

// A buffer grows off-heap as its content comes in.
func ExampleReallocBytes() {
	buffer, err := slub.Bytes(0)
	if err != nil {
		log.Fatal(err)
	}
	for _, part := range []string{"part one, ", "part two, ", "and the end"} {
		n := len(buffer)
		longer, err := slub.ReallocBytes(buffer, n+len(part))
		if err != nil {
			log.Fatal(err) // buffer is unchanged, and still to be freed
		}
		copy(longer[n:], part)
		buffer = longer
	}
	fmt.Printf("%s: %d of %d bytes\n", buffer, len(buffer), cap(buffer))
	slub.FreeBytes(buffer)
	// Output:
	// part one, part two, and the end: 31 of 32 bytes
}

// Owner says what an address, from a crash report for example, belongs to.
func ExampleOwner() {
	uploads, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "upload"})
	if err != nil {
		log.Fatal(err)
	}
	p, err := uploads.Malloc(1000)
	if err != nil {
		log.Fatal(err)
	}
	inside := unsafe.Add(p, 100)
	o, ok := slub.Owner(inside)
	fmt.Println(ok, o.Buckets == uploads, o.Cache.Name(), uintptr(inside)-o.Addr, "of", o.Size)
	uploads.Free(p)
	fmt.Println("closed:", uploads.Close())
	// Output:
	// true true upload-1024 100 of 1024
	// closed: <nil>
}

// What Prefill has promised can't fail, and an Alloc of it costs less than one of the cache.
func ExampleTyped_Prefill() {
	type node struct{ key uint64 }
	nodes, err := slub.NewTyped[node](nil, slub.Config{Name: "node"})
	if err != nil {
		log.Fatal(err)
	}
	reserve, err := nodes.Prefill(3)
	if err != nil {
		log.Fatal(err)
	}
	for key := range uint64(3) {
		n := reserve.Alloc()
		n.key = key
		fmt.Println("node", n.key)
		nodes.Free(n)
	}
	reserve.Return()
	fmt.Println("closed:", nodes.Close())
	// Output:
	// node 0
	// node 1
	// node 2
	// closed: <nil>
}
