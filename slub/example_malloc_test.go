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
	p, err := slub.Malloc(85)
	if err != nil {
		log.Fatal(err)
	}
	value := unsafe.Slice((*byte)(p), 85)
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

// Stats says what the values of each size take, and what is larger than all classes.
func ExampleBuckets_Stats() {
	blobs, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "blob"})
	if err != nil {
		log.Fatal(err)
	}
	small := make([]unsafe.Pointer, 10)
	if err := blobs.MallocBulk(100, small); err != nil {
		log.Fatal(err)
	}
	large, err := blobs.Malloc(2 << 20)
	if err != nil {
		log.Fatal(err)
	}
	s := blobs.Stats()
	for _, c := range s.Classes {
		if c.Objects > 0 {
			fmt.Println(c.Objects, "objects of", c.Size, "bytes")
		}
	}
	fmt.Println(s.Large.Runs.Objects, "page run of", s.Large.Runs.Bytes, "bytes")
	blobs.FreeBulk(append(small, large))
	fmt.Println(blobs.Stats().Objects, "objects, closed:", blobs.Close())
	// Output:
	// 10 objects of 112 bytes
	// 1 page run of 2097152 bytes
	// 0 objects, closed: <nil>
}
