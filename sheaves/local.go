package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
)

// Take is AllocBulk for a holder that keeps the objects as a sheaf does: they don't count as
// allocated.
func (s *Set) Take(dst []unsafe.Pointer) int { return s.popBulk(dst, false) }

// Put is PutBulk for such a holder. Like Free, and unlike PutBulk, it makes room where there is
// none: by a new sheaf, or by flushing a portion of the spare. It returns how many of objs it took,
// from the front, and whether it took them all without work of the Source: then more will cost as
// little. What is left goes straight to the Source: the stack's lock was held, memory is short, the
// goroutine has moved to another node, or the Set is closed. If the Source doesn't return, Put
// gives it what is left.
func (s *Set) Put(objs []unsafe.Pointer, node int) (put int, cheap bool) {
	put = s.pushBulk(objs, node, false)
	if put == len(objs) {
		return put, true
	}
	callback.Guard(func() {
		for put < len(objs) {
			st := s.lockNonFull(node)
			if st == nil {
				break
			}
			put += st.PutN(objs[put:])
			s.unlock(st)
		}
	}, func() { s.flush(objs[put:]) })
	return put, false
}
