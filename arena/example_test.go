package arena_test

import (
	"fmt"
	"runtime/debug"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// A run of 8 pages from the node that CPU 0 is nearest to.
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
	page := mem.Bytes(a.Addr(run.Page), mem.PageSize<<run.Order)
	page[0] = 1
	head, order, _ := a.Head(run.Page + 5)
	fmt.Println(len(page), run.Zero, head == run.Page, order, a.NodeOf(a.Addr(head)) == node)
	a.Free(run.Page)
	fmt.Println(a.Purge(0), a.Stats().Nodes[0].Runs)
	// Output:
	// 32768 true true 3 true
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
