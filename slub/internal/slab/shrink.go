package slab

// Shrink gives empty slabs back and sorts the others so that the fullest are used up first. It
// returns how many slabs are left, full ones included. (Kernel: __kmem_cache_do_shrink.)
func (s *Slabs) Shrink() (left int) {
	for i := range s.nodes {
		s.shrinkNode(&s.nodes[i])
		left += int(s.nodes[i].slabs.Load())
	}
	return left
}

// shrinkLists is the number of free objects from which on slabs are no longer sorted (kernel:
// SHRINK_PROMOTE_MAX).
const shrinkLists = 32

func (s *Slabs) shrinkNode(n *node) {
	// Lists of slabs, each by the link to its first: the empty ones, and one list for each number
	// of free objects. The last list has the slabs with more, too.
	var empty uint32
	var byFree [shrinkLists + 1]uint32
	n.mu.Lock()
	all := n.head
	n.head, n.tail = 0, 0
	left := n.partial.Load()
	n.empty.Store(0)
	for link := all; link != 0; {
		r := s.linked(link)
		list := &empty
		if st := r.load(); st.inuse > 0 {
			list = &byFree[min(r.objects-st.inuse, shrinkLists)]
		} else {
			left--
		}
		after := r.next
		r.listed = false
		r.next, *list = *list, link
		link = after
	}
	for _, link := range byFree {
		for link != 0 {
			r := s.linked(link)
			link = r.next
			n.insert(s, r, true)
		}
	}
	n.partial.Store(left) // in one step: readers of the count hold no lock
	n.unlock()
	s.discardAll(empty)
}

// FreeEmpty gives empty slabs back without a look at the others, and returns how many there were.
// If there are none it costs a load for each node.
//
// A listed slab is empty or not until its node's lock is taken: to take from a slab a goroutine
// removes it from the list first, under the lock, and the free of a slab's last object that is out
// changes the slab's state under the lock, too. So the count is exact for a holder of the lock. It
// is at most minPartial, unless that was lowered: addFree and relist keep an empty slab only while
// fewer slabs are listed.
func (s *Slabs) FreeEmpty() (freed int) {
	for i := range s.nodes {
		freed += s.freeEmptyOf(&s.nodes[i])
	}
	return freed
}

func (s *Slabs) freeEmptyOf(n *node) (freed int) {
	if n.empty.Load() == 0 {
		return 0
	}
	var empty uint32 // list of the slabs taken off
	n.mu.Lock()
	// Slabs that become empty are listed at the tail.
	for link := n.tail; link != 0 && n.empty.Load() > 0; {
		r := s.linked(link)
		link = r.prev
		if r.load().inuse == 0 {
			n.remove(s, r)
			r.next, empty = empty, r.link()
		}
	}
	n.unlock()
	return s.discardAll(empty)
}
