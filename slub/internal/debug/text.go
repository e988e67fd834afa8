package debug

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/slubd/slubd/internal/mem"
)

// A Bug is what a report of a debug cache is about.
type Bug struct {
	Cache   string
	Flags   Flags
	Problem string  // "Right Redzone overwritten"
	Object  uintptr // 0 for a slab as a whole
	Slab    uintptr // address of its first byte
	Detail  string  // what was found, in one line; "" if Problem says it
	Window  string  // the bytes around what was overwritten, see Layout.Window; or ""
	Fix     string  // what was done about it, "" for nothing

	Allocated, Freed Call
}

// A Call is a Track with the stack that its number stands for.
type Call struct {
	Track
	Stack []uintptr
}

// Text returns the report in the form of the kernel's (mm/slub.c: slab_bug, print_trailer,
// slab_fix). The banner and the line of the repair begin as the kernel's do, for tools that look
// for them.
func (b Bug) Text() string {
	var s strings.Builder
	s.WriteString(strings.Repeat("=", 77) + "\n")
	fmt.Fprintf(&s, "BUG %s (debug %v): %s\n%s\n", b.Cache, b.Flags, b.Problem, strings.Repeat("-", 77))
	if b.Detail != "" {
		s.WriteString(b.Detail + "\n")
	}
	b.Allocated.write(&s, "Allocated")
	b.Freed.write(&s, "Freed")
	if b.Slab != 0 {
		fmt.Fprintf(&s, "Slab 0x%x\n", b.Slab)
	}
	if b.Object != 0 {
		fmt.Fprintf(&s, "Object 0x%x @offset=%d\n", b.Object, int64(b.Object-b.Slab))
	}
	s.WriteString(b.Window)
	if b.Fix != "" {
		fmt.Fprintf(&s, "FIX %s: %s\n", b.Cache, b.Fix)
	}
	return s.String()
}

// write writes which call it was, its stack below it. Nothing is written if there was none.
func (c Call) write(s *strings.Builder, what string) {
	if c.When == 0 {
		return
	}
	fmt.Fprintf(s, "%s on CPU %d, %v ago", what, c.CPU, c.Age().Round(time.Millisecond))
	if len(c.Stack) == 0 {
		s.WriteString(", the call stack was not kept\n")
		return
	}
	s.WriteString(" by:\n")
	WriteStack(s, c.Stack)
}

// inside are the packages whose functions a report leaves out at the top of a stack: they are the
// way through the allocator.
var inside = []string{
	"github.com/slubd/slubd/slub.",
	"github.com/slubd/slubd/slub/internal/",
	"github.com/slubd/slubd/internal/",
}

func isInside(function string) bool {
	for _, prefix := range inside {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}

// WriteStack writes a call stack, two lines for each frame, from the first on that is not of the
// allocator.
func WriteStack(s *strings.Builder, stack []uintptr) {
	begun := false
	frames := runtime.CallersFrames(stack)
	for more := len(stack) > 0; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if begun = begun || !isInside(f.Function) || !more; begun {
			fmt.Fprintf(s, "    %s\n        %s:%d\n", f.Function, f.File, f.Line)
		}
	}
}

// Detail says which bytes were overwritten, as the kernel's reports do.
func (o Overwrite) Detail(slab uintptr) string {
	where := fmt.Sprintf("0x%x-0x%x @offset=%d. ", o.First, o.Last, int64(o.First-slab))
	if o.fix != 0 {
		return where + "Its check bits do not fit"
	}
	return where + fmt.Sprintf("First byte 0x%x instead of 0x%x", o.Got, o.Want)
}

// Fix says what Repair does.
func (o Overwrite) Fix() string {
	if o.fix != 0 {
		return fmt.Sprintf("Resetting %s 0x%x-0x%x", o.Part, o.First, o.Last)
	}
	return fmt.Sprintf("Restoring %s 0x%x-0x%x=0x%x", o.Part, o.First, o.Last, o.Want)
}

// Lines of a window: those before the one with the first byte that was overwritten, and all.
const (
	linesBefore = 2
	linesInAll  = 6
	lineBytes   = 16
)

// Window returns the bytes around the first one that was overwritten, 16 in a line, each line with
// the part of the slot that it begins in. It shows no byte outside [from, to), where the caller may
// read.
func (l *Layout) Window(obj, first, from, to uintptr) string {
	var s strings.Builder
	line := mem.AlignDown(first, lineBytes) - linesBefore*lineBytes
	for range linesInAll {
		begin, end := max(line, from), min(line+lineBytes, to)
		if line += lineBytes; begin >= end {
			continue
		}
		b := mem.Bytes(begin, end-begin)
		fmt.Fprintf(&s, "%-8s 0x%x: % x  %s\n", l.part(begin-obj), begin, b, printable(b))
	}
	return s.String()
}

// part names what lies at an offset from the object, as the kernel's dump does.
func (l *Layout) part(off uintptr) string {
	switch {
	case int64(off) < 0:
		return "Redzone"
	case off < l.Size:
		return "Object"
	case off < l.Inuse && l.Flags.Has(RedZone):
		return "Redzone"
	case off >= l.Slot-l.Left && off < l.Slot && l.Left > 0:
		return "Redzone" // of the next object
	case off < l.Inuse || off >= l.padding:
		return "Padding"
	}
	return "Meta"
}

// printable returns bytes as text, with a dot for each that is no character.
func printable(b []byte) string {
	text := make([]byte, len(b))
	for i, c := range b {
		if c < ' ' || c > '~' {
			c = '.'
		}
		text[i] = c
	}
	return string(text)
}
