package arena_test

import (
	"fmt"
	"runtime/debug"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/numa"
)

// An arena of at most 1 MiB gives out a run of 8 pages from the node that CPU 0 is nearest to.
func Example() {
	a, err := arena.New(arena.Config{Name: "example", Limit: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	node := numa.System().LocalNode(0)
	run, err := a.Alloc(3, node)
	if err != nil {
		fmt.Println(err)
		return
	}
	head, pages, _ := a.Head(run.Page + 5)
	fmt.Println(run.Zero, head == run.Page, pages, a.NodeOf(a.Addr(head)) == node)
	a.Free(run.Page)
	fmt.Println(a.Purge(arena.Unlimited), a.Stats().Nodes[0].Runs)
	// Output:
	// true true 8 true
	// 32768 0
}

// Go's heap and the arena share 768 MiB.
func ExampleCoupleGoMemLimit() {
	a, err := arena.New(arena.Config{Name: "cache"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	stop, err := arena.CoupleGoMemLimit(arena.Coupling{Total: 1 << 30, Reserve: 256 << 20}, a)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	node := numa.System().LocalNode(0)
	var pages []uint32
	for range 15 {
		run, err := a.Alloc(arena.MaxOrder, node) // 4 MiB
		if err != nil {
			fmt.Println(err)
			return
		}
		pages = append(pages, run.Page)
	}
	fmt.Println(debug.SetMemoryLimit(-1) >> 20) // in steps of 12 MiB
	for _, page := range pages {
		a.Free(page)
	}
	a.Purge(0)
	fmt.Println(debug.SetMemoryLimit(-1) >> 20)
	// Output:
	// 708
	// 768
}
