package slub

// shrink gives empty slabs back and sorts the others so that the fullest are
// emptied first (kernel: __kmem_cache_do_shrink). It returns how many slabs are
// left, full ones included.
func (l *layer) shrink() (left int) {
	for i := range l.nodes {
		l.shrinkNode(&l.nodes[i])
		left += int(l.nodes[i].slabs.Load())
	}
	return left
}

// shrinkLists is how far slabs are told apart by the number of their free objects (kernel:
// SHRINK_PROMOTE_MAX).
const shrinkLists = 32

func (l *layer) shrinkNode(n *node) {
	// Lists of slabs, by their links: empty ones, and by the number of free objects, where
	// the last list has those with more, too.
	var empty uint32
	var byFree [shrinkLists + 1]uint32
	n.mu.Lock()
	all := n.head
	n.head, n.tail = 0, 0
	n.partial.Store(0)
	for link := all; link != 0; {
		s := l.linked(link)
		list := &empty
		if st := s.load(); st.inuse > 0 {
			list = &byFree[min(s.objects-st.inuse, shrinkLists)]
		}
		after := s.next
		s.listed = false
		s.next, *list = *list, link
		link = after
	}
	for _, link := range byFree {
		for link != 0 {
			s := l.linked(link)
			link = s.next
			n.add(l, s, true)
		}
	}
	n.mu.Unlock()
	for empty != 0 {
		s := l.linked(empty)
		empty = s.next
		l.discard(s)
	}
}
