package machine

import (
	"fmt"

	"github.com/slubd/slubd/numa"
)

// Place is a node or an L3 group, as a row and a column of -numa's matrix.
type Place struct {
	ID   int       // of the node, or the index of the L3 group
	Node numa.Node // where its memory is
	CPU  int       // what allocates and frees there
	// MemoryOnly says that the node has no CPU that this process may use. Its objects come from
	// AllocNode, called on the CPU of the nearest node that has one, and nothing is freed there.
	MemoryOnly bool
}

// NodePlaces returns the nodes that the matrix can have: those with a CPU that this process may
// use, and those with memory alone.
func (m *Machine) NodePlaces() (places []Place) {
	for _, n := range m.Nodes {
		p := Place{ID: int(n.ID), Node: n.ID}
		switch near := m.nearest(n); {
		case len(n.Allowed) > 0:
			p.CPU = n.Allowed[0]
		case m.topology.HasMemory(n.ID) && near >= 0:
			p.CPU, p.MemoryOnly = near, true
		default:
			continue
		}
		places = append(places, p)
	}
	return places
}

// nearest returns a CPU of the node that is nearest to n and has one that this process may use, -1
// if there is none.
func (m *Machine) nearest(n Node) (cpu int) {
	least := -1
	for _, other := range m.Nodes {
		d := m.topology.Distance(other.ID, n.ID)
		if len(other.Allowed) > 0 && (least < 0 || d < least) {
			cpu, least = other.Allowed[0], d
		}
	}
	if least < 0 {
		return -1
	}
	return cpu
}

// MaxGroups is the largest number of L3 groups that the matrix shows all of.
const MaxGroups = 12

// GroupPlaces returns the L3 groups that the matrix has. Of more than MaxGroups there are only
// those of the first node that has several, and the first of each other node; note says so.
func (m *Machine) GroupPlaces() (places []Place, note string) {
	byNode := map[int]int{} // groups of a node so far
	detailed := -1
	for i, g := range m.L3 {
		c := -1
		for _, known := range m.cpus {
			if known.l3 == i {
				c = known.id
				break
			}
		}
		if c < 0 {
			continue
		}
		node := int(g.Node)
		byNode[node]++
		if byNode[node] == 2 && detailed < 0 {
			detailed = node
		}
		places = append(places, Place{ID: i, Node: g.Node, CPU: c})
	}
	if len(places) <= MaxGroups {
		return places, ""
	}
	all := len(places)
	seen := map[int]bool{}
	var some []Place
	for _, p := range places {
		node := int(p.Node)
		if node != detailed && seen[node] || len(some) == MaxGroups {
			continue
		}
		seen[node] = true
		some = append(some, p)
	}
	return some, fmt.Sprintf("%d of %d L3 groups: those of node %d, and one of each other node, %d at most", len(some), all, max(detailed, 0), MaxGroups)
}
