package slub_test

import (
	"fmt"
	"log"
	"sync/atomic"

	"github.com/slubd/slubd/slub"
)

// The example of README.md, word for word; internal/lint compares the two.
func Example_readme() {
	type session struct{ id uint64 }
	sessions, err := slub.NewTyped[session](nil, slub.Config{Name: "session"})
	if err != nil {
		log.Fatal(err) // no memory, or a type that holds Go pointers
	}
	var current atomic.Pointer[session]
	publish := func(id uint64) {
		s, err := sessions.AllocZero()
		if err != nil {
			log.Fatal(err)
		}
		s.id = id
		sessions.FreeRCU(current.Swap(s)) // reused when no reader can hold it; nil is ignored
	}
	publish(1)
	done := make(chan bool)
	go func() {
		reader := slub.DefaultDomain().Register("reader")
		fmt.Println("found session", current.Load().id)
		reader.Quiescent() // holds no session from here on
		reader.Close()
		close(done)
	}()
	<-done
	publish(2)
	sessions.Free(current.Load())
	fmt.Println("closed:", sessions.Close())
	// Output:
	// found session 1
	// closed: <nil>
}
