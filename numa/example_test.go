package numa_test

import (
	"fmt"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// Two sockets and a memory-only node with an id of its own, as sysfs would
// describe them.
func ExampleLoadFS() {
	topo, err := numa.LoadFS(testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0, 1}, Memory: 8 << 30, Distance: []int{10, 20, 40}},
		testutil.SysNode{ID: 1, CPUs: []int{2, 3}, Distance: []int{20, 10, 15}},
		testutil.SysNode{ID: 7, Memory: 64 << 30, Distance: []int{40, 15, 10}},
	))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range topo.Nodes() {
		fmt.Println("node", n, "CPUs", topo.CPUs(n), "allocates from", topo.Fallback(n))
	}
	// Output:
	// node 0 CPUs [0 1] allocates from [0 7]
	// node 1 CPUs [2 3] allocates from [7 0]
	// node 7 CPUs [] allocates from [7 0]
}
