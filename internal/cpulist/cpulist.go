// Package cpulist reads and writes sets of ids of CPUs and NUMA nodes in the kernel's two forms:
// the list "0-3,8" of sysfs and /proc, and the bit mask of system calls.
//
// It imports nothing of the module; every package may import it.
package cpulist

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// MaxID bounds ids, so that absurd text can't exhaust memory. Linux stops at 8192 CPUs and 1024
// nodes.
const MaxID = 1<<16 - 1

// A Mask is a set of ids in the form of system calls: bit id%64 of word id/64 stands for id.
type Mask []uint64

// Add puts an id, which is at least 0, into the set, and grows the mask as needed.
func (m *Mask) Add(id int) {
	for len(*m) <= id/64 {
		*m = append(*m, 0)
	}
	(*m)[id/64] |= 1 << (id % 64)
}

// IDs lists the set in ascending order.
func (m Mask) IDs() []int {
	var ids []int
	for i, word := range m {
		for ; word != 0; word &= word - 1 {
			ids = append(ids, i*64+bits.TrailingZeros64(word))
		}
	}
	return ids
}

// Parse returns the ids of a list in ascending order, without duplicates. White space around the
// list is ignored; an empty list is valid. The error says what is wrong with the text.
func Parse(text string) ([]int, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	var m Mask
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := ParseID(low)
		if err != nil {
			return nil, err
		}
		last, err := ParseID(high)
		if err != nil {
			return nil, err
		}
		if last < first {
			return nil, fmt.Errorf("range %q runs backwards", part)
		}
		for id := first; id <= last; id++ {
			m.Add(id)
		}
	}
	return m.IDs(), nil
}

// ParseID reads one id: a decimal number without a sign.
func ParseID(text string) (int, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id > MaxID {
		return 0, fmt.Errorf("%q is no id from 0 to %d", text, MaxID)
	}
	return int(id), nil
}

// Format writes ascending ids as a list. Like the kernel it joins neighbours to a range.
func Format(ids []int) string {
	var b strings.Builder
	for i := 0; i < len(ids); {
		last := i
		for last+1 < len(ids) && ids[last+1] == ids[last]+1 {
			last++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(ids[i]))
		if last > i {
			b.WriteString("-" + strconv.Itoa(ids[last]))
		}
		i = last + 1
	}
	return b.String()
}
