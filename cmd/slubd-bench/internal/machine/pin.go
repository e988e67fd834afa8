package machine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slubd/slubd/internal/cpulist"
)

// Words of -pin. Anything else is a list of CPUs.
const (
	PinNone    = "none"
	PinCompact = "compact"
	PinScatter = "scatter"
)

// ErrPin says that threads can't be pinned as asked.
var ErrPin = errors.New("can't pin")

// Order returns the CPUs that threads are pinned to, the first thread's first; nil for PinNone.
//
//	compact  neighbours first: the CPUs of a core, then of an L3 group, then of a node
//	scatter  far apart first: a CPU of each node, then of each L3 group, then of each core
//	LIST     the CPUs of a list like "0,8,2-5", in its order
//
// There are only CPUs that this process may use. The error is an ErrPin.
func (m *Machine) Order(pin string) ([]int, error) {
	switch pin {
	case "", PinNone:
		return nil, nil
	case PinCompact:
		return m.sorted(func(c cpu) []int { return []int{c.node, c.l3, c.core, c.sibling} })
	case PinScatter:
		return m.sorted(func(c cpu) []int {
			return []int{c.sibling, m.rank(c, cpu.inGroup, cpu.ofCore), m.rank(c, cpu.inNode, cpu.ofGroup), c.node}
		})
	}
	return m.listed(pin)
}

func (c cpu) inNode() [2]int  { return [2]int{c.node} }
func (c cpu) inGroup() [2]int { return [2]int{c.node, c.l3} }
func (c cpu) ofGroup() int    { return c.l3 }
func (c cpu) ofCore() int     { return c.core }

// rank returns the place of c's part, which is a core or an L3 group, among the parts of the same
// whole.
func (m *Machine) rank(c cpu, whole func(cpu) [2]int, part func(cpu) int) int {
	var parts []int
	for _, other := range m.cpus {
		if whole(other) == whole(c) {
			parts = append(parts, part(other))
		}
	}
	return slices.Index(distinct(parts), part(c))
}

// sorted returns all CPUs by a key, and by number where keys are equal.
func (m *Machine) sorted(key func(cpu) []int) ([]int, error) {
	if len(m.cpus) == 0 {
		return nil, fmt.Errorf("%w: no file tells which CPUs there are", ErrPin)
	}
	list := slices.Clone(m.cpus)
	slices.SortStableFunc(list, func(a, b cpu) int { return slices.Compare(key(a), key(b)) })
	order := make([]int, len(list))
	for i, c := range list {
		order[i] = c.id
	}
	return order, nil
}

// listed reads a list of CPUs, and keeps its order.
func (m *Machine) listed(list string) (order []int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		ids, err := cpulist.Parse(part)
		if err == nil && len(ids) == 0 {
			err = errors.New("an empty part")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %q is neither %s, %s, %s nor a list of CPUs: %w", ErrPin, list, PinNone, PinCompact, PinScatter, err)
		}
		for _, id := range ids {
			if _, ok := slices.BinarySearchFunc(m.cpus, id, func(c cpu, id int) int { return cmp.Compare(c.id, id) }); !ok {
				return nil, fmt.Errorf("%w: CPU %d is not one that this process may use", ErrPin, id)
			}
			if !slices.Contains(order, id) {
				order = append(order, id)
			}
		}
	}
	return order, nil
}
