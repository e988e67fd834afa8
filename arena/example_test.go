package arena_test

import (
	"fmt"

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
