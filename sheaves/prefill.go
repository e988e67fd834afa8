package sheaves

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/text"
)

// ErrShort says that the Source had fewer objects than were asked for.
var ErrShort = errors.New("sheaves: not enough objects")

// MaxPrefill is the largest number of objects that a Loan may have: 8 MiB of pointers. A
// sheaf is filled as a whole, in one call.
const MaxPrefill = 1 << 20

// A Loan is a sheaf that a user has borrowed: as many objects as its size says can be taken from it
// without fail. It belongs to one goroutine at a time. The borrower takes objects from the end of
// Slots()[:Size()], or puts some there, and tells with SetSize how many there are now.
type Loan struct {
	sh       *sheaf
	node     int
	oversize bool // larger than the set's sheaves, made for this loan alone
	exact    bool // its objects are of node and no other
	lent     int  // objects of it in lentObjects
}

// Slots views the whole array. The first Size of it are free objects.
func (l Loan) Slots() []unsafe.Pointer { return l.sh.slots() }

// Node returns the index of the node that the objects were asked of.
func (l Loan) Node() int { return l.node }

// Size returns the number of objects as of Prefill, Refill or SetSize.
func (l Loan) Size() int { return int(l.sh.size) }

// SetSize records how many objects the borrower left in the array.
func (l Loan) SetSize(n int) { l.sh.size = uint32(n) }

// Prefill lends a sheaf with at least n objects: the CPU's spare, else one from the barn, else a
// new one, refilled to capacity if it holds fewer. More than a sheaf's capacity takes an oversize
// sheaf, which is a mapping of its own. Errors: ErrShort, at once above MaxPrefill; ErrClosed;
// that of a mapping that the kernel refused. (Kernel: kmem_cache_prefill_sheaf.)
func (s *Set) Prefill(n int) (Loan, error) {
	b, node := s.barnOf(percpu.CPUNow())
	if n > s.Capacity() {
		return s.prefillOversize(n, node, false)
	}
	sh := s.takeSpare(node)
	if sh == nil {
		s.count(SheafPrefillSlow, 1)
		sh = b.get()
		if sh != nil && sh.size > 0 {
			s.count(BarnGet, 1)
		} else {
			s.count(BarnGetFail, 1)
		}
	} else {
		s.count(SheafPrefillFast, 1)
	}
	if sh == nil {
		var err error
		if sh, err = s.newSheaf(s.Capacity()); err != nil {
			s.count(loansClosed, 1)
			return Loan{}, err
		}
	}
	if int(sh.limit) < n {
		// SetCapacity is running, and the sheaf is from before or after it.
		s.endLoan(sh)
		return s.prefillOversize(n, node, false)
	}
	if int(sh.size) < n && !s.fill(sh, node, false, s.endLoan) && int(sh.size) < n {
		s.endLoan(sh)
		return Loan{}, short("prefill of", n, ErrShort)
	}
	return s.lend(Loan{sh: sh, node: node}), nil
}

// PrefillNode is Prefill of objects of the given node and no other, in a sheaf that is filled from
// the Source. Errors: as Prefill. (Kernel: none; kmem_cache_prefill_sheaf has no node.)
func (s *Set) PrefillNode(n, node int) (Loan, error) {
	if n > s.Capacity() {
		return s.prefillOversize(n, node, true)
	}
	s.count(SheafPrefillSlow, 1)
	sh, err := s.newSheaf(s.Capacity())
	if err != nil {
		s.count(loansClosed, 1)
		return Loan{}, err
	}
	l := Loan{sh: sh, node: node, exact: true}
	if int(sh.limit) < n { // SetCapacity is running
		s.endLoan(sh)
		return s.prefillOversize(n, node, true)
	}
	if !s.fill(sh, node, s.strict(l), s.endLoan) && l.Size() < n {
		s.endLoan(sh)
		return Loan{}, short("prefill of", n, ErrShort)
	}
	return s.lend(l), nil
}

// strict reports whether the Source has to be asked for objects of the loan's node alone.
func (s *Set) strict(l Loan) bool { return l.exact && len(s.barns) > 1 }

// lend counts the objects of a new loan, or those that a loan has now.
func (s *Set) lend(l Loan) Loan {
	s.count(lentObjects, l.Size()-l.lent)
	l.lent = l.Size()
	return l
}

// prefillOversize is Prefill for more objects than a sheaf of the Set holds.
func (s *Set) prefillOversize(n, node int, exact bool) (Loan, error) {
	s.count(SheafPrefillOversize, 1)
	if n > MaxPrefill {
		s.count(loansClosed, 1)
		return Loan{}, short("prefill of", n, ErrShort)
	}
	addr, err := percpu.Reserve(sizeOf(n))
	if err != nil {
		s.count(loansClosed, 1)
		return Loan{}, short("prefill of", n, err)
	}
	s.count(SheafAlloc, 1)
	l := Loan{sh: sheafOf(addr), node: node, oversize: true, exact: exact}
	l.sh.limit = uint32(n)
	if !s.fill(l.sh, node, s.strict(l), s.endOversize) {
		s.endOversize(l.sh)
		return Loan{}, short("prefill of", n, ErrShort)
	}
	return s.lend(l), nil
}

// endLoan ends a loan without a return that an Event counts.
func (s *Set) endLoan(sh *sheaf) {
	s.count(loansClosed, 1)
	s.discard(sh)
}

// endOversize is endLoan for an oversize sheaf.
func (s *Set) endOversize(sh *sheaf) {
	objs := sh.objects()
	defer func() {
		s.count(SheafFree, 1)
		s.count(loansClosed, 1)
		// The kernel refuses this only for addresses that were never mapped.
		_ = percpu.Unreserve(sh.addr(), sizeOf(int(sh.limit)))
	}()
	s.flush(objs)
}

// End ends a loan as Return does, but gives its objects to the Source, and calls no more of it than
// Flush. It is for a borrower whose goroutine unwinds.
func (s *Set) End(l Loan) {
	s.count(lentObjects, -l.lent)
	if l.oversize {
		s.endOversize(l.sh)
	} else {
		s.endLoan(l.sh)
	}
}

// short is the error of a call that wanted n objects.
func short(call string, n int, err error) error {
	return fmt.Errorf("%s %s: %w", call, text.Objects(n), err)
}

// Refill tops a loan up to at least n objects: in place if they fit, else by a larger sheaf, which
// it borrows before it returns the old one. On error l is as it was. If the Source doesn't return,
// the loan has ended. Errors: as Prefill. (Kernel: kmem_cache_refill_sheaf.)
func (s *Set) Refill(l Loan, n int) (Loan, error) {
	l = s.lend(l) // what was taken is the borrower's, and no longer lent
	switch {
	case l.Size() >= n:
		return l, nil
	case int(l.sh.limit) >= n:
		before := l.sh.size
		if s.fill(l.sh, l.node, s.strict(l), func(*sheaf) { s.End(l) }) || l.Size() >= n {
			return s.lend(l), nil
		}
		added := l.sh.objects()[before:]
		l.sh.size = before
		callback.Guard(func() { s.flush(added) }, func() { s.End(l) })
		return l, short("refill to", n, ErrShort)
	}
	var larger Loan
	var err error
	callback.Guard(func() {
		if l.exact {
			larger, err = s.PrefillNode(n, l.node)
		} else {
			larger, err = s.Prefill(n)
		}
	}, func() { s.End(l) })
	if err != nil {
		return l, err
	}
	callback.Guard(func() { s.Return(l) }, func() { s.End(larger) })
	return larger, nil
}

// Return ends a loan: the sheaf becomes the CPU's spare, or goes to the barn filled up, or its
// objects go back to the Source. A CPU of another node than the one that Prefill was called on
// doesn't keep it. (Kernel: kmem_cache_return_sheaf, where any CPU does.)
func (s *Set) Return(l Loan) {
	s.count(lentObjects, -l.lent)
	if l.oversize {
		s.endOversize(l.sh)
		return
	}
	if s.returnFast(l) {
		s.count(SheafReturnFast, 1)
		return
	}
	s.count(SheafReturnSlow, 1)
	b := &s.barns[l.node]
	if !s.closed.Load() && !s.staleCapacity(l.sh) && b.fulls() < s.MaxFull() && s.fill(l.sh, l.node, s.strict(l), s.discard) {
		s.putInBarn(l.sh, b)
		return
	}
	s.discard(l.sh)
}

// returnFast makes a returned sheaf the calling CPU's spare if it has none and is on the sheaf's
// node.
func (s *Set) returnFast(l Loan) bool {
	st, _ := s.lockMain()
	if st == nil {
		return false
	}
	defer s.unlock(st)
	if st.Spare != 0 || st.Own() != s.owners[l.node] || s.staleCapacity(l.sh) {
		return false
	}
	setSpare(st, l.sh)
	return true
}
