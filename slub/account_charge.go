package slub

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// mallocSlow is Malloc, or with zero MallocZero, where the sequence of the class does not suffice:
// there is no room or no slot at hand, the class's cache is to be made or does more for an object,
// or there is no class.
func (a *Account) mallocSlow(n int, zero bool) (unsafe.Pointer, error) {
	s := a.state
	defer runtime.KeepAlive(a)
	switch {
	case s.closed:
		return nil, fmt.Errorf("slub: account %q is closed: %w", s.name, ErrClosed)
	case n < 0:
		return nil, fmt.Errorf("%w: %d", ErrSize, n)
	case n == 0:
		return nothing()
	}
	if err := a.register(); err != nil {
		return nil, err
	}
	slot, err := s.takeSlot()
	if err != nil {
		return nil, err
	}
	alloc, bytes, err := s.allocator(n, zero)
	if err != nil {
		return nil, err
	}
	if err := s.charge(bytes); err != nil {
		return nil, err
	}
	var p unsafe.Pointer
	undo := func() {
		mem.Store64(&s.room, s.room+uint64(bytes))
		if int64(s.room) > s.mostRoom {
			s.giveRoom() // or the Parent would answer for what there is no object for
		}
	}
	callback.Guard(func() { p, err = alloc() }, undo) // a hook may not return
	if err != nil {
		undo()
		return nil, err
	}
	ref := s.ref | uint64(slot)
	if c := s.buckets.cacheOf(p); c != nil {
		c.slabs.Exts().Refer(uintptr(p), ref)
	} else {
		s.buckets.chargeLarge(p, ref)
	}
	s.hole = uint32(s.slots[slot] >> 1)
	s.slots[slot] = uintptr(p)
	return p, nil
}

// allocator returns what allocates n bytes, which are not charged yet, and how many bytes the
// object will have.
func (s *accountState) allocator(n int, zero bool) (alloc func() (unsafe.Pointer, error), bytes int64, err error) {
	b := s.buckets
	if n <= maxClass || n <= maxPageClass && b.large.debug == nil {
		c, err := b.accountedCache(accountedClassOf(uint(n) - 1))
		if err == nil {
			return func() (unsafe.Pointer, error) {
				p, err := c.Alloc()
				c.limitTo(n, p, err)
				return p, err
			}, int64(c.layout.slot), nil
		}
		if n <= maxClass || !errors.Is(err, ErrNoMemory) {
			return nil, 0, err
		}
	}
	from := uintptr(n)
	if zero {
		from = 0
	}
	return func() (unsafe.Pointer, error) { return b.allocLarge(uintptr(n), from, numa.NoNode) }, b.chargedFor(uintptr(n)), nil
}

// register gives the Account a number, if it has none.
func (a *Account) register() error {
	s := a.state
	if s.ref != 0 {
		return nil
	}
	if !s.parent.admitAccount() {
		p := configErrors("account", s.name, "AccountConfig")
		p.Add("Parent", "%q is closed", s.parent.name)
		return p.Err()
	}
	number, err := accounts.add(s)
	if err != nil {
		s.parent.dismissAccount()
		return err
	}
	s.ref = uint64(number) << slotBits
	a.cleanup = runtime.AddCleanup(a, (*accountState).end, s)
	return nil
}

// charge takes bytes from room, or returns an *AccountError, or a *GroupError of the Parent.
func (s *accountState) charge(bytes int64) error {
	if int64(s.room) < bytes {
		if s.collect(); s.mostRoom == 0 {
			s.giveExcess()
		}
	}
	if short := bytes - int64(s.room); short > 0 {
		if err := s.grow(short); err != nil {
			return err
		}
	}
	mem.Store64(&s.room, s.room-uint64(bytes))
	return nil
}

// collect makes room of what has been freed otherwise.
func (s *accountState) collect() {
	s.beginMove()
	freed := s.freed.Swap(0)
	mem.Store64(&s.room, s.room-uint64(freed))
	s.endMove()
}

// grow raises granted by short bytes, or by a step if the limits have as much.
func (s *accountState) grow(short int64) error {
	limit := s.limit.Load()
	left := limit - s.granted.Load()
	if short > left {
		return &AccountError{Account: s.name, Limit: limit, InUse: s.usage(), Bytes: int64(s.room) + short}
	}
	step := min(left, int64(mem.AlignUp(uintptr(short), accountStep)))
	if s.parent.charge(step) != nil {
		step = short
		if err := s.parent.charge(step); err != nil {
			again := func() error { return s.parent.charge(step) }
			if err = relieve(err, s.parent, s.buckets.arena, step, nil, again); err != nil {
				return fmt.Errorf("slub: account %q: %w", s.name, err)
			}
		}
	}
	s.move(step)
	return nil
}

// move adds bytes to granted and to room.
func (s *accountState) move(bytes int64) {
	s.beginMove()
	s.granted.Add(bytes)
	mem.Store64(&s.room, s.room+uint64(bytes))
	s.endMove()
}

// beginMove makes version odd: until endMove no other goroutine moves bytes, and Usage waits. The
// holder waits for nothing.
func (s *accountState) beginMove() {
	for {
		if v := s.version.Load(); v%2 == 0 && s.version.CompareAndSwap(v, v+1) {
			return
		}
		runtime.Gosched()
	}
}

func (s *accountState) endMove() { s.version.Add(1) }

// unchargeRemote ends the charge of an object that has been freed otherwise than by the Account.
func (s *accountState) unchargeRemote(bytes int64) {
	left := s.freed.Add(-bytes)
	switch {
	case left >= 0: // after end
		s.parent.uncharge(bytes)
		if left == 0 {
			s.forget()
		}
	case left <= -accountStep && s.parent != nil:
		s.giveFreed()
	}
}

// giveFreed gives what has been freed otherwise back to the Parent, which the Account's goroutine
// may not do for long. After end there is nothing to give: freed is not below zero.
func (s *accountState) giveFreed() {
	s.beginMove()
	given := int64(0)
	if freed := s.freed.Load(); freed < 0 {
		given = -s.freed.Swap(0)
		s.granted.Add(-given)
	}
	s.endMove()
	s.parent.uncharge(given)
}

// end ends an Account: in Close, or when the collector has found it lost.
func (s *accountState) end() {
	s.setSlots(nil)
	s.closed, s.hole = true, noSlot
	s.beginMove()
	granted := s.granted.Load()
	left := s.freed.Add(granted - int64(s.room))
	s.granted.Store(0)
	mem.Store64(&s.room, 0)
	s.endMove()
	s.parent.uncharge(granted - left) // the frees that come after this uncharge the rest
	if left == 0 && s.ref != 0 {
		s.forget()
	}
}

// forget takes the number back, to which nothing refers.
func (s *accountState) forget() {
	accounts.remove(uint32(s.ref >> slotBits))
	s.parent.dismissAccount()
}

// An AccountError says that an allocation failed since its Account has reached its limit. It
// matches ErrAccountLimit and ErrNoMemory.
type AccountError struct {
	Account string // AccountConfig.Name
	// Limit is that of the Account, and InUse what was charged to it then, in bytes.
	Limit, InUse int64
	Bytes        int64 // needed for the object
}

// Error names the account.
func (e *AccountError) Error() string {
	return fmt.Sprintf("%v: account %q has %d of %d bytes in use, and needs %d more", ErrAccountLimit, e.Account, e.InUse, e.Limit, e.Bytes)
}

// Unwrap returns ErrAccountLimit.
func (e *AccountError) Unwrap() error { return ErrAccountLimit }
