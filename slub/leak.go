package slub

import (
	"fmt"
	"strings"

	"github.com/slubd/slubd/internal/text"
)

// What Close says of objects that nobody has given back.

// maxListed is how many leaked objects, or names, an error has: enough for a person to look
// for, short enough for a log.
const maxListed = 8

// An addressList is what an error says of where objects are.
type addressList struct {
	n     int // addresses given
	first strings.Builder
}

func (l *addressList) add(addr uintptr) {
	if l.n++; l.n <= maxListed {
		fmt.Fprintf(&l.first, " %#x", addr)
	}
}

// String has a space before each.
func (l *addressList) String() string {
	if l.n > maxListed {
		return l.first.String() + " ..."
	}
	return l.first.String()
}

// patience is how many milliseconds Close goes on looking when there are slabs but no
// objects in use: a free on another goroutine is just giving one back. It has an end for
// the sake of programs that have freed objects twice, whose slabs count wrong.
const patience = 1000

// leak describes the objects that are still in use. If there are none, the result is nil
// but for the last time.
func (c *Cache) leak(last bool) error {
	var out addressList
	for s := range c.slabs.all() {
		for obj := range c.slabs.inUse(s) {
			out.add(obj)
		}
	}
	switch {
	case out.n == 0 && !last:
		return nil
	case out.n == 0:
		return fmt.Errorf("%w: cache %q: no object is, but slabs are not back", ErrBusy, c.name)
	}
	return fmt.Errorf("%w: cache %q: %s of %s:%s%s%s", ErrBusy, c.name, text.Objects(out.n),
		text.Count(c.config.Size, "byte", "bytes"), &out, c.onLoan(out.n), caches.suspects(c))
}

// onLoan tells about prefilled sheaves, of which the slabs know nothing but that their
// objects, count with all others, are out. What users hold besides, Stats counts without
// them. Close comes after the last use, so that its figures are of one moment.
func (c *Cache) onLoan(count int) string {
	s := c.Stats()
	if s.Prefilled == 0 {
		return ""
	}
	verb := "were"
	if s.Prefilled == 1 {
		verb = "was"
	}
	return fmt.Sprintf("; of these Prefill has lent %d, in %s that %s not returned", max(0, count-int(s.InUse)),
		text.Count(s.Prefilled, "sheaf", "sheaves"), verb)
}
