package rcu

import (
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
)

// never is no reader's word: it is neither offline nor odd.
const never = 2

// Enter begins a section of a reader that is offline: what the caller finds from now on stays valid
// until Exit. Register returns an online reader, so call Offline before the first Enter. Enter is
// Online, and Exit is Offline, for many short sections: both are inlined, and each is a plain
// store, as in liburcu's membarrier flavour. The price is that of Domain.Enter: in a domain where
// either was ever called each grace period makes a system call of some microseconds, which
// interrupts the CPUs that run the process.
//
// Sections nest. A reader that is online stays so beyond Exit. A section may block and continue on
// another CPU; grace periods wait for it meanwhile. Only the reader's goroutine may call it.
func (r *Reader) Enter() {
	if r.word == r.plain {
		r.word = r.domain.seq.advanced.Load() + first // pairs with sections
	} else {
		r.enterSlow()
	}
}

// Exit ends the section that the last Enter began. Quiescent, Offline, Online and Close must not be
// called inside a section: builds with -tags invariants or -race panic, as they do at an Exit
// without Enter, and at one that makes the reader offline between Lock and Unlock. Other builds
// don't find these mistakes. Offline and Close end the section. Quiescent gives up what the section
// has found so far. Online does nothing, and the next Exit makes the reader offline. An Exit
// without Enter makes an online reader offline: what it finds then is not protected.
func (r *Reader) Exit() {
	r.nesting.exit(r)
	if r.depth != 0 {
		r.depth--
		return
	}
	mem.Store64(&r.word, uint64(offline)) // pairs with Domain.Start
}

// enterSlow is Enter for an online reader, and for the first section of each. From the first one on
// the domain has sections, whose Fence orders Enter's store before the section's loads. Where there
// is no Fence, every Enter comes here, and stores with a barrier; in builds with invariants every
// Enter is checked here.
func (r *Reader) enterSlow() {
	r.mustBeOpen("Enter")
	r.nesting.enter(r)
	if r.seen() != offline {
		r.depth++
		return
	}
	if r.domain.getSections().counts.Fenced() && !invariants.Enabled {
		r.plain = uint64(offline)
	}
	r.goOnline()
}
