package main

// A matcher is a pattern of SCAN, prepared for many keys: * stands for any bytes, ? for one, [abc],
// [^abc] and [a-z] for one of several, and a backslash takes the next byte as it is.
//
// It reads each key once, and keeps for every place in the pattern whether the bytes read so far
// lead there, one bit each. So a byte of a key costs one step for 64 elements of the pattern,
// whatever the pattern and the key are: a client can't find a pair that takes long.
type matcher struct {
	words int      // of 64 places
	table []uint64 // words for each byte: the places whose element stands for it
	stars []uint64 // the places where a * stands, which any byte may leave as it is
	end   int      // the place behind the last element
	at    []uint64 // the places that the key leads to
	steps int      // words that were computed, of all keys
}

// newMatcher prepares a pattern. It takes 256 steps for each byte of the pattern.
func newMatcher(pattern []byte) *matcher {
	words := len(pattern)/64 + 1
	all := make([]uint64, (256+2)*words)
	m := &matcher{words: words, table: all[:256*words], stars: all[256*words : 257*words], at: all[257*words:]}
	for len(pattern) > 0 {
		word, bit := m.end/64, uint64(1)<<(m.end%64)
		if pattern[0] == '*' {
			m.stars[word] |= bit
			pattern = pattern[1:]
			continue
		}
		length := 0
		for b := range 256 {
			n, ok := matchOne(pattern, byte(b))
			if length = n; ok {
				m.table[b*words+word] |= bit
			}
		}
		pattern = pattern[length:]
		m.end++
	}
	return m
}

// match reports whether a key matches.
func (m *matcher) match(key []byte) bool {
	clear(m.at)
	m.at[0] = 1
	last, end := m.end/64, uint64(1)<<(m.end%64)
	rest := m.stars[last] & end // set if a * stands for the rest of the key
	for _, b := range key {
		carry, places := uint64(0), uint64(0)
		for i, element := range m.table[int(b)*m.words:][:m.words] {
			next := m.at[i] & element
			m.at[i] = next<<1 | carry | m.at[i]&m.stars[i]
			carry = next >> 63
			places |= m.at[i]
		}
		if m.steps += m.words; places == 0 || m.at[last]&rest != 0 {
			break
		}
	}
	return m.at[last]&end != 0
}

// matchOne reports whether the pattern's first element stands for a byte, and its length.
func matchOne(pattern []byte, b byte) (length int, ok bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		return matchSet(pattern, b)
	case '\\':
		if len(pattern) > 1 {
			return 2, pattern[1] == b
		}
	}
	return 1, pattern[0] == b
}

// matchSet is matchOne for a pattern that begins with a bracket. One that is not closed ends with
// the pattern.
func matchSet(pattern []byte, b byte) (length int, ok bool) {
	i := 1
	not := i < len(pattern) && pattern[i] == '^'
	if not {
		i++
	}
	for ; i < len(pattern) && pattern[i] != ']'; i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
			ok = ok || pattern[i] == b
			continue
		}
		low, high := pattern[i], pattern[i]
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			high = pattern[i+2]
			i += 2
		}
		ok = ok || min(low, high) <= b && b <= max(low, high)
	}
	return min(i+1, len(pattern)), ok != not
}
