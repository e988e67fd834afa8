package sheaves

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/text"
)

// ErrShort says that the Source could not fill a sheaf.
var ErrShort = errors.New("sheaves: not enough objects")

// maxOversize keeps a sheaf's size and limit within their 32 bits.
const maxOversize = math.MaxInt32

// A Loan is a sheaf that a user has borrowed: objects taken from it can't fail up
// to its size. It belongs to one goroutine at a time.
type Loan struct {
	sh       *sheaf
	node     int
	oversize bool // larger than the set's sheaves, made for this loan alone
}

// Room views the whole array; the first Size objects are free ones.
func (l Loan) Room() []unsafe.Pointer { return l.sh.room() }

// Size returns the number of objects as of Prefill, Refill or SetSize.
func (l Loan) Size() int { return int(l.sh.size) }

// SetSize records how many objects the borrower left in the array.
func (l Loan) SetSize(n int) { l.sh.size = uint32(n) }

// Prefill lends a sheaf with at least n objects: the CPU's spare, else one from the
// barn, else a new one, refilled to capacity where it holds fewer (kernel:
// kmem_cache_prefill_sheaf). More than a sheaf's capacity takes an oversize sheaf.
func (s *Set) Prefill(n int) (Loan, error) {
	b, node := s.barnOf(percpu.CPU())
	if n > s.Capacity() {
		return s.prefillOversize(n, node)
	}
	sh := s.takeSpare()
	if sh == nil {
		s.count(PrefillSlow, 1)
		sh = b.get()
		if sh != nil && sh.size > 0 {
			s.count(BarnGet, 1)
		} else {
			s.count(BarnGetFail, 1)
		}
	} else {
		s.count(PrefillFast, 1)
	}
	if sh == nil {
		var err error
		if sh, err = s.newSheaf(s.Capacity()); err != nil {
			s.count(unlent, 1)
			return Loan{}, err
		}
	}
	if int(sh.limit) < n {
		// SetCapacity is under way, and the sheaf is from before or after it.
		s.discard(sh)
		s.count(unlent, 1)
		return s.prefillOversize(n, node)
	}
	if int(sh.size) < n && !s.fill(sh, node) && int(sh.size) < n {
		s.discard(sh)
		s.count(unlent, 1)
		return Loan{}, short("prefill of", n, ErrShort)
	}
	return Loan{sh: sh, node: node}, nil
}

func (s *Set) takeSpare() *sheaf {
	st, _ := s.Slots.TryLock(percpu.Main)
	if st == nil {
		return nil
	}
	defer st.Unlock()
	spare := sheafOf(st.Spare)
	setSpare(st, nil)
	return spare
}

func (s *Set) prefillOversize(n, node int) (Loan, error) {
	s.count(PrefillOversize, 1)
	if n > maxOversize {
		s.count(unlent, 1)
		return Loan{}, short("prefill of", n, ErrShort)
	}
	addr, err := percpu.Reserve(sizeOf(n))
	if err != nil {
		s.count(unlent, 1)
		return Loan{}, short("prefill of", n, err)
	}
	s.count(SheafAlloc, 1)
	l := Loan{sh: sheafOf(addr), node: node, oversize: true}
	l.sh.limit = uint32(n)
	if !s.fill(l.sh, node) {
		s.Return(l)
		return Loan{}, short("prefill of", n, ErrShort)
	}
	return l, nil
}

// short is the error of a call that wanted n objects.
func short(call string, n int, err error) error {
	return fmt.Errorf("%s %s: %w", call, text.Objects(n), err)
}

// Refill tops a loan up to n objects at least, in place where they fit; else it
// borrows a larger sheaf and returns the old one. On error l is as it was (kernel:
// kmem_cache_refill_sheaf).
func (s *Set) Refill(l Loan, n int) (Loan, error) {
	switch {
	case l.Size() >= n:
		return l, nil
	case int(l.sh.limit) >= n:
		before := l.sh.size
		if s.fill(l.sh, l.node) || l.Size() >= n {
			return l, nil
		}
		s.flush(l.sh.objects()[before:])
		l.sh.size = before
		return l, short("refill to", n, ErrShort)
	}
	larger, err := s.Prefill(n)
	if err != nil {
		return l, err
	}
	s.Return(l)
	return larger, nil
}

// Return ends a loan: the sheaf becomes the CPU's spare, or goes to the barn filled
// up, or its objects go back to the Source (kernel: kmem_cache_return_sheaf).
func (s *Set) Return(l Loan) {
	if l.oversize {
		s.flushSheaf(l.sh)
		s.count(SheafFree, 1)
		s.count(unlent, 1)
		// Refused only for addresses that were never mapped.
		_ = percpu.Unreserve(l.sh.word(), sizeOf(int(l.sh.limit)))
		return
	}
	if s.returnFast(l.sh) {
		s.count(ReturnFast, 1)
		return
	}
	s.count(ReturnSlow, 1)
	b := &s.barns[l.node]
	if !s.closed.Load() && !s.retired(l.sh) && b.fulls() < s.MaxFull() && s.fill(l.sh, l.node) {
		s.stow(l.sh, b)
		return
	}
	s.discard(l.sh)
}

func (s *Set) returnFast(sh *sheaf) bool {
	st, _ := s.Slots.TryLock(percpu.Main)
	if st == nil {
		return false
	}
	defer st.Unlock()
	if st.Spare != 0 || st.Cap() == 0 || s.retired(sh) {
		return false
	}
	setSpare(st, sh)
	return true
}
