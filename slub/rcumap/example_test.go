package rcumap_test

import (
	"fmt"
	"log"

	"github.com/slubd/slubd/slub/rcumap"
)

func Example() {
	m, err := rcumap.New(rcumap.Config{Name: "users"})
	if err != nil {
		log.Fatal(err)
	}
	if err := m.Put("ann", []byte("admin")); err != nil {
		log.Fatal(err)
	}

	// A request handler reads in a section of its own.
	section := m.Domain().Enter()
	if role, found := m.Get("ann"); found {
		fmt.Printf("ann is %s\n", role) // valid until Exit
	}
	section.Exit()

	// A copy needs no section and has no end.
	role, found := m.Append(nil, "bob")
	fmt.Printf("bob: %q, %v\n", role, found)

	m.Delete("ann")
	if err := m.Close(); err != nil { // reports entries that were lost
		log.Fatal(err)
	}
	// Output:
	// ann is admin
	// bob: "", false
}
