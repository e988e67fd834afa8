package arena

import (
	"sync/atomic"
	"testing"
)

// The word of a node is 0 exactly as long as PlacementError is nil.
func TestPlacementWord(t *testing.T) {
	a := new(Arena)
	a.observer.errs = make([]atomic.Pointer[PlacementError], 2)
	for _, judges := range []bool{false, true} {
		a.observer.judges = judges
		for node := range a.observer.errs {
			for _, e := range []*PlacementError{nil, {Reason: "lost"}, nil} {
				a.observer.errs[node].Store(e)
				word := *(*uintptr)(a.PlacementWord(node))
				if wrong := a.PlacementError(node) != nil; wrong != (word != 0) {
					t.Errorf("node %d, judges %v: the word is %#x, the error %v", node, judges, word, a.PlacementError(node))
				}
			}
		}
	}
}
