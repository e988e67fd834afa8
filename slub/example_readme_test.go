package slub_test

import (
	"fmt"
	"log"

	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// The example of README.md, word for word; internal/lint compares the two.
func Example_readme() {
	type session struct{ id uint64 }
	sessions, err := slub.NewTyped[session](nil, slub.Config{Name: "session"})
	if err != nil {
		log.Fatal(err) // no memory, or a type that holds Go pointers
	}
	var current rcu.Pointer[session] // where readers find the session
	readers := slub.DefaultDomain()

	lookup := func() uint64 { // called by any goroutine
		defer readers.Enter().Exit()
		return current.Load().id // what Load returns is valid until Exit
	}
	replace := func(id uint64) {
		s, err := sessions.AllocZero()
		if err != nil {
			log.Fatal(err)
		}
		s.id = id
		sessions.FreeRCU(current.Swap(s)) // reused when no reader can hold it; nil is ignored
	}

	replace(1)
	done := make(chan bool)
	go func() {
		fmt.Println("found session", lookup())
		close(done)
	}()
	<-done
	replace(2)
	sessions.FreeRCU(current.Swap(nil))
	fmt.Println("closed:", sessions.Close())
	// Output:
	// found session 1
	// closed: <nil>
}
