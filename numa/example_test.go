package numa_test

import (
	"fmt"
	"testing/fstest"

	"github.com/slubd/slubd/numa"
)

// The files describe two sockets, of which one has no memory, and a node 7 that has only memory.
func ExampleLoadFS() {
	tree := fstest.MapFS{}
	for file, text := range map[string]string{
		"online":         "0-1,7",
		"has_memory":     "0,7",
		"node0/cpulist":  "0-1",
		"node1/cpulist":  "2-3",
		"node0/distance": "10 20 40",
		"node1/distance": "20 10 15",
		"node7/distance": "40 15 10",
	} {
		tree["devices/system/node/"+file] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
	topo, err := numa.LoadFS(tree)
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
