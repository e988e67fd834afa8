package sheaves

import (
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// TestSheavesOfTwoNodesShareNoPage: what CPUs of one node use is not in a page with what those of
// another one use, and no cache line has two sheaves. A sheaf that is used again stays on its node.
func TestSheavesOfTwoNodesShareNoPage(t *testing.T) {
	const nodes, sheaves = 3, 100
	p := pools{of: map[int]*pool{}, keep: 6, nodes: nodes}
	homeOf, lineOf := map[uintptr]int{}, map[uintptr]*sheaf{}
	var all [nodes][]*sheaf
	for i := range nodes * sheaves {
		node := i % nodes
		s, err := p.get(6, node)
		if err != nil {
			t.Fatal(err)
		}
		all[node] = append(all[node], s)
		for at := s.addr(); at < s.addr()+sizeOf(6); at += 8 {
			if home, known := homeOf[at/mem.PageSize]; known && home != node {
				t.Fatalf("a page has sheaves of nodes %d and %d", home, node)
			}
			homeOf[at/mem.PageSize] = node
			if other := lineOf[at/mem.CacheLine]; other != nil && other != s {
				t.Fatal("a cache line has two sheaves")
			}
			lineOf[at/mem.CacheLine] = s
		}
	}
	for node := range nodes {
		for _, s := range all[node] {
			p.put(s)
		}
		for range sheaves {
			s, err := p.get(6, node)
			if err != nil || homeOf[s.addr()/mem.PageSize] != node {
				t.Fatalf("a sheaf for node %d is of node %d, %v", node, homeOf[s.addr()/mem.PageSize], err)
			}
		}
	}
}
