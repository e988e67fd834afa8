package slub_test

import (
	"errors"
	"fmt"
	"log"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/slub"
)

// A connection may have 64 KiB. What it has allocated is freed at once when it ends, whatever state
// its parser is in then.
func ExampleBuckets_NewAccount() {
	memory, err := arena.New(arena.Config{Name: "connections", Span: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	values, err := slub.NewBuckets(memory, slub.BucketsConfig{Name: "value"})
	if err != nil {
		log.Fatal(err)
	}

	connection, err := values.NewAccount(slub.AccountConfig{Name: "192.0.2.1:4711", Limit: 64 << 10})
	if err != nil {
		log.Fatal(err)
	}
	header, err := connection.Malloc(1000)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("with a header:", connection.Usage(), "bytes")

	var full *slub.AccountError
	for full == nil {
		var field unsafe.Pointer
		field, err = connection.Malloc(200)
		if err != nil && !errors.As(err, &full) {
			log.Fatal(err)
		}
		_ = field // belongs to a tree, for example
	}
	fmt.Printf("%s has %d of %d bytes\n", full.Account, full.InUse, full.Limit)

	values.Free(header) // by any means, on any goroutine
	fmt.Println("without the header:", connection.Usage(), "bytes")
	connection.Reset()
	fmt.Println("after the request:", connection.Usage(), "bytes")

	connection.Close()
	fmt.Println("closed:", errors.Join(values.Close(), memory.Close()))
	// Output:
	// with a header: 1024 bytes
	// 192.0.2.1:4711 has 65536 of 65536 bytes
	// without the header: 64512 bytes
	// after the request: 0 bytes
	// closed: <nil>
}
