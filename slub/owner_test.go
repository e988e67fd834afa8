package slub

import "testing"

// The parts of an owner keep out of each other's way, up to the largest of each.
func TestOwner(t *testing.T) {
	for _, id := range []uint32{1, 2, maxCaches - 1} {
		for _, node := range []int{0, 1, maxNodes - 1} {
			o := ownerOf(id, node)
			if o == 0 || o.id() != id || o.node() != node || o.careful() || o.plain() != o {
				t.Errorf("owner of %d on node %d is %#x: %d on node %d", id, node, o, o.id(), o.node())
			}
			marked := o | careful
			if marked.id() != id || marked.node() != node || !marked.careful() || marked.plain() != o {
				t.Errorf("%#x marked is %#x: %d on node %d", o, marked, marked.id(), marked.node())
			}
		}
	}
	if nobody == 0 || nobody.id() != 0 {
		t.Errorf("nobody is %#x, of %d", nobody, nobody.id())
	}
}
