package percpu

import (
	"errors"
	"slices"
	"testing"
)

// TestNodesAreFound: what the kernel tells of a CPU is noted for that CPU, once, and read as the
// fallback before.
func TestNodesAreFound(t *testing.T) {
	const fallback = 1
	last := NumCPU() - 1
	for name, c := range map[string]struct {
		cpu, node int // the kernel's answer
		err       error
		want      int // index of the last CPU afterwards
		unknown   bool
	}{
		"another node than the fallback": {cpu: last, node: 4, want: 2},
		"the fallback":                   {cpu: last, node: 0, want: fallback},
		"a node that doesn't count":      {cpu: last, node: 2, want: fallback},
		"a node beyond the table":        {cpu: last, node: 9, want: fallback},
		"a CPU beyond the table":         {cpu: NumCPU(), node: 4, want: fallback},
		"no answer":                      {err: errors.New("refused"), want: fallback},
	} {
		of := slices.Repeat([]int{0}, NumCPU())
		of[last] = -1
		n := NewNodes(of, []int{fallback, 0, -1, -1, 2}, fallback)
		if n.Known(last) || n.Index(last) != fallback {
			t.Errorf("%s: index %d before the kernel is asked", name, n.Index(last))
		}
		n.Ask = func() (int, int, error) { return c.cpu, c.node, c.err }
		n.Find(last)
		if got := n.Index(last); got != c.want || !n.Known(last) {
			t.Errorf("%s: index %d, known %v, want %d", name, got, n.Known(last), c.want)
		}
		n.Ask = func() (int, int, error) { return last, 1, nil }
		if n.Find(last); n.Index(last) != c.want {
			t.Errorf("%s: another answer has changed the index to %d", name, n.Index(last))
		}
	}
}

// TestNodesFoundElsewhere: a thread that has moved before it asks learns of the CPU that it is on,
// and nothing of the one that it comes from.
func TestNodesFoundElsewhere(t *testing.T) {
	n := NewNodes(nil, []int{0, 1}, 0)
	elsewhere := NumCPU() - 1
	n.Ask = func() (int, int, error) { return elsewhere, 1, nil }
	n.Find(0)
	for cpu := range n.NodeOf {
		if here := cpu == elsewhere; n.Known(cpu) != here || here && n.Index(cpu) != 1 {
			t.Errorf("CPU %d of %d: index %d, known %v", cpu, NumCPU(), n.Index(cpu), n.Known(cpu))
		}
	}
}

// TestNodesWithoutChoice: where all CPUs can only have one index, the kernel is not asked.
func TestNodesWithoutChoice(t *testing.T) {
	for name, n := range map[string]*Nodes{
		"one node":             NewNodes(nil, []int{0}, 0),
		"one node with memory": NewNodes(nil, []int{2, -1, 2}, 2),
		"no node":              NewNodes(nil, nil, 0),
	} {
		for cpu := range n.NodeOf {
			if !n.Known(cpu) {
				t.Errorf("%s: CPU %d is not known", name, cpu)
			}
		}
	}
}

// TestHomes: the indexes of CPUs that are known, and of all nodes if a CPU is not.
func TestHomes(t *testing.T) {
	of := slices.Repeat([]int{3}, NumCPU())
	if got := NewNodes(of, []int{3, -1, 0, 1}, 3).Homes(); !slices.Equal(got, []int{3}) {
		t.Errorf("homes %v of CPUs on node 3", got)
	}
	of[0] = -1
	if got := NewNodes(of, []int{3, -1, 0, 1}, 3).Homes(); !slices.Equal(got, []int{0, 1, 3}) {
		t.Errorf("homes %v with a CPU that isn't known", got)
	}
}
