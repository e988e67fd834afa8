package slub_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/slub"
)

// A page cache that may use 4 MiB: the arena's limit bounds what is resident, whatever the objects'
// number. When it is reached, Alloc returns ErrNoMemory and everything stays usable: here the
// oldest page makes room.
func Example_boundedCache() {
	const limit = 4 << 20
	pages, err := arena.New(arena.Config{Name: "pages", Limit: limit})
	if err != nil {
		log.Fatal(err)
	}
	type page [4096]byte
	cache, err := slub.NewTyped[page](pages, slub.Config{Name: "page"})
	if err != nil {
		log.Fatal(err)
	}
	var kept []*page // oldest first
	evicted := 0
	for range 2 * limit / 4096 {
		p, err := cache.Alloc()
		for errors.Is(err, slub.ErrNoMemory) && len(kept) > 0 {
			cache.Free(kept[0])
			kept = kept[1:]
			evicted++
			p, err = cache.Alloc()
		}
		if err != nil {
			log.Fatal(err)
		}
		kept = append(kept, p)
	}
	fmt.Println("within the limit:", len(kept)*4096 <= limit)
	fmt.Println("some made room:", evicted > 0)
	cache.FreeBulk(kept)
	fmt.Println("closed:", cache.Close(), pages.Close())
	// Output:
	// within the limit: true
	// some made room: true
	// closed: <nil> <nil>
}
