// Command images tells the per-CPU engine of its process and has threads allocate and free, for
// TestImages. Built as a library of C, it does the same for the program that loads it.
package main

import "C"

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/slubd/slubd/slub"
)

// engine says in one line which engine runs, and why.
func engine() string {
	name, reason := slub.Engine()
	owner, mode := slub.ThreadArea()
	switch {
	case owner == "":
		return fmt.Sprintf("engine %s: %s", name, reason)
	case reason != "":
		return fmt.Sprintf("engine %s, threads registered by %s (%s): %s", name, owner, mode, reason)
	}
	return fmt.Sprintf("engine %s, threads registered by %s (%s)", name, owner, mode)
}

// storm allocates and frees on some goroutines, checks that each object has one owner, and closes
// the cache, which fails if an object is lost.
func storm(rounds int) error {
	c, err := slub.NewTyped[[4]uint64](nil, slub.Config{Name: "images"})
	if err != nil {
		return err
	}
	const goroutines = 8
	failures := make(chan error, goroutines)
	var done sync.WaitGroup
	for g := range uint64(goroutines) {
		done.Go(func() { failures <- work(c, g+1, rounds) })
	}
	done.Wait()
	for range goroutines {
		if err := <-failures; err != nil {
			return err
		}
	}
	if err := c.Cache().Validate(); err != nil {
		return err
	}
	return c.Close()
}

// work writes its number into the objects that it holds.
func work(c *slub.Typed[[4]uint64], number uint64, rounds int) error {
	var held [32]*[4]uint64
	for range rounds {
		for i := range held {
			p, err := c.Alloc()
			if err != nil {
				return err
			}
			*p = [4]uint64{number, number, number, number}
			held[i] = p
		}
		runtime.Gosched()
		for i, p := range held {
			if *p != [4]uint64{number, number, number, number} {
				return fmt.Errorf("object %d of goroutine %d holds %d", i, number, *p)
			}
			*p = [4]uint64{}
			c.Free(p)
		}
	}
	return nil
}

//export slubd_engine
func slubd_engine() *C.char { return C.CString(engine()) }

//export slubd_storm
func slubd_storm(rounds C.int) *C.char {
	if err := storm(int(rounds)); err != nil {
		return C.CString(err.Error())
	}
	return nil
}

func main() {
	fmt.Println(engine())
	if err := storm(2000); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
