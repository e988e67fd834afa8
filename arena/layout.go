package arena

import (
	"fmt"
	"slices"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// A layout divides the range: it consists of parts of one size, of which every node owns some that
// lie side by side. With Config.Span each node owns one. Otherwise a node owns as many as its
// memory needs, so that a small node takes a small share, and large ones are not cut to what is
// left when all have as much as the largest.
type layout struct {
	part   uintptr // bytes of a part, a power of two and at least the largest run
	counts []int   // parts of each node, by topology index, each at least 1
}

// maxParts is about how many parts a range has at most, beside one for each node. The table that
// tells the owner of a part has two bytes for each, and so stays in the first-level cache.
const maxParts = 512

// layout returns the layout that the config asks for.
func (a *Arena) layout() layout {
	nodes := a.topo.NodeCount()
	if a.cfg.bySize {
		return divide(sizes(a.topo), maxRange)
	}
	return layout{uintptr(a.cfg.Span), slices.Repeat([]int{1}, nodes)}
}

// sizes returns how many bytes of range each node should have: twice its memory, since
// fragmentation may waste a part, and at least 1 GiB. A node of unknown size counts as the largest,
// or as one of 32 GiB.
func sizes(t *numa.Topology) []int64 {
	list := make([]int64, t.NodeCount())
	for i, n := range t.Nodes() {
		total, _ := t.Memory(n)
		if list[i] = max(2*min(total, maxRange), 1<<30); total == 0 && t.HasMemory(n) {
			list[i] = memorySpan(t)
		}
	}
	return list
}

// divide makes a layout of at most the given bytes, in which each node has what it wants. If all
// together want more, each gets less in proportion.
func divide(wants []int64, most int64) layout {
	total := 0.0
	for _, n := range wants {
		total += float64(n)
	}
	scale := min(1, float64(most)/total)
	l := layout{part: uintptr(ceilPow2(max(int64(total*scale)/maxParts, maxRun)))}
	sum := 0
	for _, n := range wants {
		count := max(1, int(mem.AlignUp(uintptr(float64(n)*scale), l.part)/l.part))
		l.counts = append(l.counts, count)
		sum += count
	}
	for ; uintptr(sum)*l.part > uintptr(most); sum-- {
		largest := slices.Index(l.counts, slices.Max(l.counts))
		l.counts[largest]--
	}
	return l
}

// largest returns the bytes of the largest node's part of the range.
func (l layout) largest() uintptr { return uintptr(slices.Max(l.counts)) * l.part }

// size returns the bytes of the range.
func (l layout) size() uintptr {
	parts := 0
	for _, n := range l.counts {
		parts += n
	}
	return uintptr(parts) * l.part
}

// halved returns a layout of half the size, or hardly more.
func (l layout) halved() layout {
	if l.part > maxRun {
		return layout{l.part / 2, l.counts}
	}
	counts := slices.Clone(l.counts)
	for i := range counts {
		counts[i] = max(1, counts[i]/2)
	}
	return layout{l.part, counts}
}

// key tells layouts apart.
func (l layout) key() string { return fmt.Sprint(l.part, l.counts) }

// owners returns the topology index of the node that owns each part.
func (l layout) owners() (list []uint16) {
	for i, n := range l.counts {
		list = append(list, slices.Repeat([]uint16{uint16(i)}, n)...)
	}
	return list
}
