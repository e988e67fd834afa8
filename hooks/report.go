package hooks

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/slubd/slubd/internal/callback"
)

// Kind says what a Report is about.
type Kind uint8

const (
	// ForeignPointer says that a pointer was freed which belongs to no slab of this allocator.
	ForeignPointer Kind = iota + 1
	// WrongCache says that a cache was given a pointer that belongs to Report.Owner.
	WrongCache
	// MisalignedPointer says that a pointer lies inside a slab but not at an object's start.
	MisalignedPointer
	// FreelistCorrupt says that a free pointer leads out of its slab.
	FreelistCorrupt
	// DoubleFree says that an object was freed although it was free.
	DoubleFree
	// MemoryCorrupt says that bytes beside a guarded object were written to while it was in use.
	MemoryCorrupt
	// WriteAfterFree says that a hardened cache or a debug cache found bytes in a free object that
	// were written after it was freed.
	WriteAfterFree
	// RedZoneOverwritten says that bytes in front of an object of a debug cache were written, or
	// bytes behind what its user asked for.
	RedZoneOverwritten
	// PaddingOverwritten says that bytes in a slab of a debug cache were written that are of no
	// object and no red zone.
	PaddingOverwritten
	// SheafCorrupt says that a sheaf had the address Report.Addr, where no object of the cache
	// starts: the sheaf was overwritten. Hardened caches, and checked builds, look for it.
	SheafCorrupt
)

var kindText = [...]string{
	ForeignPointer:    "foreign pointer",
	WrongCache:        "pointer of another cache",
	MisalignedPointer: "misaligned pointer",
	FreelistCorrupt:   "corrupt freelist",
	DoubleFree:        "double free",
	MemoryCorrupt:     "memory corruption",
	WriteAfterFree:    "write after free",

	RedZoneOverwritten: "red zone overwritten",
	PaddingOverwritten: "padding overwritten",
	SheafCorrupt:       "corrupt sheaf",
}

// String gives the kind in words.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindText) {
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kindText[k]
}

// Report is one finding of misuse or corruption. It is an error: Error gives one line, and behind
// it Freed where that is known; the verb %+v adds the stack of the call that was at fault, and the
// History.
type Report struct {
	Kind   Kind
	Cache  string    // cache that was called
	Owner  string    // cache that the address belongs to; "" = none, or Cache itself
	Addr   uintptr   // address concerned; 0 = none
	Slab   uintptr   // first byte of the slab around Addr; 0 = none
	Detail string    // what was found there, without a final stop
	Stack  []uintptr // return program counters, innermost first
	// History says of a guarded object where it was allocated, and freed if it was, in several
	// lines with the call stacks. Of an object of a debug cache it is the report in the kernel's
	// form. "" for other objects.
	History string
	Freed   []uintptr // those of the call that freed the object before; nil where it was not noted
	// Allocated is that of the call that allocated the object last, and Overwrite says which bytes
	// were overwritten. Only reports of debug caches have them.
	Allocated []uintptr
	Overwrite *Overwrite
	Repaired  bool // what was found is repaired
}

// An Overwrite says which bytes of a debug cache's slab were overwritten.
type Overwrite struct {
	Part        string  // what they are of, by the kernel's name: "Right Redzone", "Poison"
	First, Last uintptr // addresses of the first and the last byte with another value
	Got, Want   byte    // value of the first one, and the right one; 0 for a track or request
	Window      string  // the bytes around the first one, as they were, 16 in a line
}

// stackDepth bounds a report's stack. 32 frames reach from inside the allocator to a request
// handler of the user's.
const stackDepth = 32

// NewReport makes a report with the stack of its caller and with its detail formatted as by
// fmt.Sprintf. The caller sets Owner and Slab.
func NewReport(kind Kind, cache string, addr uintptr, format string, args ...any) *Report {
	stack := make([]uintptr, stackDepth)
	// 2 skips the frames of runtime.Callers and NewReport.
	stack = stack[:runtime.Callers(2, stack)]
	return &Report{Kind: kind, Cache: cache, Addr: addr, Detail: fmt.Sprintf(format, args...), Stack: stack}
}

// Fire calls h.Report with the report. Without such a hook it panics with the report: memory that
// two owners write to must not go unnoticed. A report with a History is printed on standard error
// before. h may be nil.
func (r *Report) Fire(h *Hooks) {
	if h == nil || h.Report == nil {
		if r.History != "" { // a panic's message does not have it
			fmt.Fprintf(os.Stderr, "%+v\n", r)
		}
		panic(r)
	}
	callback.Run(h.Report, r)
}

// Error describes the report in one line. A panic shows only this, so the stack of the free before
// follows, if it was noted.
func (r *Report) Error() string {
	if len(r.Freed) == 0 {
		return r.line()
	}
	var b strings.Builder
	b.WriteString(r.line() + "\nfreed before by:")
	writeStack(&b, r.Freed)
	return b.String()
}

// line is Error without a stack.
func (r *Report) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "slubd: cache %q: %v", r.Cache, r.Kind)
	switch {
	case r.Addr != 0 && r.Slab != 0:
		fmt.Fprintf(&b, " at %#x (slab %#x%+d)", r.Addr, r.Slab, int64(r.Addr-r.Slab))
	case r.Addr != 0:
		fmt.Fprintf(&b, " at %#x", r.Addr)
	case r.Slab != 0:
		fmt.Fprintf(&b, " in the slab at %#x", r.Slab)
	}
	if r.Owner != "" {
		fmt.Fprintf(&b, ", owned by cache %q", r.Owner)
	}
	if r.Detail != "" {
		b.WriteString(": " + r.Detail)
	}
	return b.String()
}

// Format implements fmt.Formatter: %+v appends the stack, two lines for each frame as in a Go
// traceback, the one before it of Freed, and the History; %q quotes what Error gives, as other
// verbs give it.
func (r *Report) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'q':
		io.WriteString(f, strconv.Quote(r.Error()))
	case verb == 'v' && f.Flag('+'):
		io.WriteString(f, r.line())
		writeStack(f, r.Stack)
		io.WriteString(f, strings.TrimPrefix(r.Error(), r.line()))
		if r.History != "" {
			io.WriteString(f, "\n"+strings.TrimSuffix(r.History, "\n"))
		}
	default:
		io.WriteString(f, r.Error())
	}
}

func writeStack(w io.Writer, stack []uintptr) {
	if len(stack) == 0 {
		return // CallersFrames of an empty slice still yields one empty frame
	}
	frames := runtime.CallersFrames(stack)
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		fmt.Fprintf(w, "\n%s\n\t%s:%d", f.Function, f.File, f.Line)
	}
}
