package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// magic begins a trace; its last byte is the version.
const magic = "slubtrc1"

// The kinds of records.
const (
	kindAlloc = iota
	kindFree
	kindTime
	kindEnd
	kindBits = 2
)

// Resolution is the unit of time in a trace.
const Resolution = 100 * time.Microsecond

// MaxSize is the size in bytes of the largest object that a trace can have.
const MaxSize = 1<<32 - 1

// The reasons for the end of a recording, in the order of their numbers in a trace. A recording
// that was closed ends with none.
var (
	// ErrObjects reports that Config.MaxObjects objects were in use.
	ErrObjects = errors.New("more objects are in use than Config.MaxObjects")
	// ErrEvents reports that Config.MaxEvents events have been recorded.
	ErrEvents = errors.New("there are more events than Config.MaxEvents")
	// ErrOverrun reports that the writer was too slow for Config.Buffer.
	ErrOverrun = errors.New("the writer is slower than the events, and Config.Buffer is full")
	// ErrTooLarge reports an object of more than MaxSize bytes.
	ErrTooLarge = errors.New("an object has more than 4 GiB")

	reasons = []error{nil, ErrObjects, ErrEvents, ErrOverrun, ErrTooLarge}
)

// Errors of Read.
var (
	// ErrFormat reports what is no trace, or a damaged one.
	ErrFormat = errors.New("no trace of this format")
	// ErrTruncated reports a trace without an end: the program ended before it closed its Recorder,
	// or the file was cut.
	ErrTruncated = errors.New("the trace has no end")
	// ErrLimit reports a trace that exceeds the Limits.
	ErrLimit = errors.New("the trace exceeds a limit")
)

// maxRecord is the longest record in bytes.
const maxRecord = binary.MaxVarintLen64

// appendRecord appends a record.
func appendRecord(b []byte, kind int, value uint64) []byte {
	return binary.AppendUvarint(b, value<<kindBits|uint64(kind))
}

// numbers gives objects their numbers, the same in a Recorder and in Read.
type numbers struct {
	free []uint32 // those that were freed, the last one at the end
	next uint32   // the least that was never used
}

// take returns the number of an object that is allocated.
func (n *numbers) take() uint32 {
	if last := len(n.free) - 1; last >= 0 {
		number := n.free[last]
		n.free = n.free[:last]
		return number
	}
	n.next++
	return n.next - 1
}

// put gives back the number of an object that is freed.
func (n *numbers) put(number uint32) { n.free = append(n.free, number) }

// inUse is how many objects have a number.
func (n *numbers) inUse() int { return int(n.next) - len(n.free) }

// atEvent says after how many events an error was found.
func atEvent(events int, err error, format string, args ...any) error {
	return fmt.Errorf("trace: %w: after %d events: %s", err, events, fmt.Sprintf(format, args...))
}
