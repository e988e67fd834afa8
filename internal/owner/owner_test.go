package owner

import "testing"

// TestFields: the parts of a word don't overlap, up to the largest of each.
func TestFields(t *testing.T) {
	for _, id := range []uint32{1, 2, MaxCaches - 1} {
		for _, node := range []int{0, 1, MaxNodes - 1} {
			w := Of(id, node)
			if w == 0 || w > Max || w.ID() != id || w.Node() != node || w.HasFlags() || w.WithoutFlags() != w {
				t.Errorf("the word of cache %d on node %d is %#x: %d on node %d", id, node, w, w.ID(), w.Node())
			}
			marked := w | NonDefaultOrder
			if marked.ID() != id || marked.Node() != node || !marked.HasFlags() || marked.WithoutFlags() != w {
				t.Errorf("%#x with a flag is %#x: %d on node %d", w, marked, marked.ID(), marked.Node())
			}
		}
	}
	if Retired == 0 || Retired.ID() != 0 {
		t.Errorf("Retired is %#x, of cache %d", Retired, Retired.ID())
	}
}
