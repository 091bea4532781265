//! What the tools of Windows and of Unix print: klist, setspn, w32tm, reg, netstat and their like.
