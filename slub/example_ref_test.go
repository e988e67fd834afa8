package slub_test

import (
	"fmt"
	"log"

	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// An employee's fields may not be Go pointers. A Ref is a plain link: it is read and written by
// the owner of the object that holds it. An rcu.Pointer is loaded and stored atomically: readers
// may follow it while a writer replaces what it leads to.
type employee struct {
	id   uint64
	boss slub.Ref[employee]    // set before the employee is published, and constant
	desk rcu.Pointer[location] // may be replaced at any time
}

type location struct{ floor int }

// A link that doesn't change is a Ref; one that changes under readers is an rcu.Pointer.
func ExampleRef() {
	employees, err := slub.NewTyped[employee](nil, slub.Config{})
	if err != nil {
		log.Fatal(err)
	}
	desks, err := slub.NewTyped[location](nil, slub.Config{})
	if err != nil {
		log.Fatal(err)
	}
	hire := func(id uint64, boss *employee, floor int) *employee {
		e, err := employees.AllocZero()
		if err != nil {
			log.Fatal(err)
		}
		d, err := desks.AllocZero()
		if err != nil {
			log.Fatal(err)
		}
		d.floor = floor
		e.id, e.boss = id, slub.RefOf(boss)
		e.desk.Store(d)
		return e
	}
	ann := hire(1, nil, 3)
	bob := hire(2, ann, 1)

	section := slub.DefaultDomain().Enter()
	fmt.Println("boss:", bob.boss.Ptr().id, "on floor", bob.boss.Ptr().desk.Load().floor)
	section.Exit()

	upstairs, err := desks.AllocZero()
	if err != nil {
		log.Fatal(err)
	}
	upstairs.floor = 4
	desks.FreeRCU(ann.desk.Swap(upstairs)) // readers may still look at the old desk
	fmt.Println("moved to floor", ann.desk.LoadProtected().floor)

	for _, e := range []*employee{bob, ann} {
		desks.Free(e.desk.LoadProtected())
		employees.Free(e)
	}
	fmt.Println("closed:", desks.Close(), employees.Close())
	// Output:
	// boss: 1 on floor 3
	// moved to floor 4
	// closed: <nil> <nil>
}
