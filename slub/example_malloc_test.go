package slub_test

import (
	"fmt"
	"log"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

// A store keeps its values off-heap; when one grows it stays where it is as long as its
// size class has room.
func ExampleMalloc() {
	p, err := slub.Malloc(70)
	if err != nil {
		log.Fatal(err)
	}
	value := unsafe.Slice((*byte)(p), 70)
	copy(value, "off-heap")
	q, err := slub.Realloc(p, 90)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(slub.Size(q), "bytes, moved:", p != q)
	fmt.Println(string(unsafe.Slice((*byte)(q), 8)))
	slub.Free(q)
	// Output:
	// 96 bytes, moved: false
	// off-heap
}

// Values of a size that a stranger chooses can have memory of their own.
func ExampleBuckets() {
	uploads, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "upload"})
	if err != nil {
		log.Fatal(err)
	}
	body, err := uploads.Bytes(5000)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(body), cap(body))
	uploads.FreeBytes(body)
	fmt.Println("closed:", uploads.Close())
	// Output:
	// 5000 5120
	// closed: <nil>
}
