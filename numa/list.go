package numa

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// maxID bounds CPU and node ids, so that absurd text can't exhaust memory.
// Linux stops at 8192 CPUs and 1024 nodes.
const maxID = 1<<16 - 1

// mask is a set of ids in the kernel's form: bit n of the whole for id n.
type mask []uint64

// add grows the mask as needed. id is at least 0.
func (m *mask) add(id int) {
	for len(*m) <= id/64 {
		*m = append(*m, 0)
	}
	(*m)[id/64] |= 1 << (id % 64)
}

// ids lists the members in ascending order.
func (m mask) ids() []int {
	var ids []int
	for i, word := range m {
		for ; word != 0; word &= word - 1 {
			ids = append(ids, i*64+bits.TrailingZeros64(word))
		}
	}
	return ids
}

// parseList reads sysfs' list format, "0-3,8", into ascending ids without
// duplicates. White space around the list is ignored; an empty list is valid.
func parseList(text string) ([]int, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	var m mask
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := parseID(low)
		if err != nil {
			return nil, err
		}
		last, err := parseID(high)
		if err != nil {
			return nil, err
		}
		if last < first {
			return nil, fmt.Errorf("%w: range %q runs backwards", ErrMalformed, part)
		}
		for id := first; id <= last; id++ {
			m.add(id)
		}
	}
	return m.ids(), nil
}

func parseID(text string) (int, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id > maxID {
		return 0, fmt.Errorf("%w: %q is no id from 0 to %d", ErrMalformed, text, maxID)
	}
	return int(id), nil
}
