// Package names makes names unique: of several things that want the name "x" the first is "x", the
// others are "x#2", "x#3" and so on. Metrics tell caches and arenas apart by these names.
//
// It imports nothing of the module; every package may import it. It has no lock: that of the list
// which the names belong to guards a Set.
package names

import (
	"container/heap"
	"iter"
	"slices"
	"strconv"
)

// Set holds the names in use and the owner of each. The zero value is empty.
type Set[T comparable] struct {
	inUse map[string]entry[T]
	bases map[string]*numbers // of the base names that have a name in use
}

type entry[T comparable] struct {
	owner  T
	base   string
	number int
}

// Add gives the owner a name that no other has, and returns it: base, or base with "#" and the
// least number from 2 on that makes it unique. Numbers of removed names are given out again, so
// that metrics don't get a new label with each thing that a program opens and closes.
//
// The cost does not depend on how many names have the same base, except for the reuse of a number,
// which costs the logarithm of how many were removed.
func (s *Set[T]) Add(base string, owner T) (name string) {
	if s.inUse == nil {
		s.inUse, s.bases = make(map[string]entry[T]), make(map[string]*numbers)
	}
	n := s.bases[base]
	if n == nil {
		n = &numbers{}
		s.bases[base] = n
	}
	// A base may end in "#" and a number itself, and so may want a name that another base has made.
	// The number is then skipped, for as long as the base has names in use.
	for {
		number := n.take()
		name = base
		if number > 1 {
			name += "#" + strconv.Itoa(number)
		}
		if _, taken := s.inUse[name]; !taken {
			n.inUse++
			s.inUse[name] = entry[T]{owner: owner, base: base, number: number}
			return name
		}
	}
}

// All yields the owners of all names, in any order.
func (s *Set[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, e := range s.inUse {
			if !yield(e.owner) {
				return
			}
		}
	}
}

// Remove takes the name from the owner. It does nothing if another owner has the name by now, or
// none.
func (s *Set[T]) Remove(name string, owner T) {
	e, ok := s.inUse[name]
	if !ok || e.owner != owner {
		return
	}
	delete(s.inUse, name)
	n := s.bases[e.base]
	n.inUse--
	if n.inUse == 0 {
		delete(s.bases, e.base)
		return
	}
	heap.Push(n, e.number)
}

// Len returns the number of names in use.
func (s *Set[T]) Len() int { return len(s.inUse) }

// numbers gives out the least number from 1 on that is not in use, for one base.
type numbers struct {
	inUse   int   // names that have a number
	highest int   // of all numbers ever given out
	free    []int // removed ones up to highest, a heap with the least first
}

func (n *numbers) take() int {
	if len(n.free) > 0 {
		return heap.Pop(n).(int)
	}
	n.highest++
	return n.highest
}

// Len, Less, Swap, Push and Pop are heap.Interface.
func (n *numbers) Len() int           { return len(n.free) }
func (n *numbers) Less(i, j int) bool { return n.free[i] < n.free[j] }
func (n *numbers) Swap(i, j int)      { n.free[i], n.free[j] = n.free[j], n.free[i] }
func (n *numbers) Push(x any)         { n.free = append(n.free, x.(int)) }
func (n *numbers) Pop() any {
	last := len(n.free) - 1
	x := n.free[last]
	n.free = slices.Delete(n.free, last, last+1)
	return x
}
