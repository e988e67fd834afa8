package main

// match reports whether a key matches a pattern of SCAN: * stands for any bytes, ? for one, [abc],
// [^abc] and [a-z] for one of several, and a backslash takes the next byte as it is. It takes time
// in proportion to the product of both lengths, whatever the pattern: after a mismatch only the
// last * takes one byte more, since an earlier one could do no better.
func match(pattern, key []byte) bool {
	star, retry := -1, 0 // behind the last *, and the byte where it ends
	p, k := 0, 0
	for k < len(key) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, retry = p, k
			continue
		}
		if next, ok := matchOne(pattern[p:], key[k]); ok {
			p, k = p+next, k+1
			continue
		}
		if star < 0 {
			return false
		}
		retry++
		p, k = star, retry
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne reports whether the pattern's first element stands for a byte, and its length.
func matchOne(pattern []byte, b byte) (length int, ok bool) {
	if len(pattern) == 0 {
		return 0, false
	}
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
