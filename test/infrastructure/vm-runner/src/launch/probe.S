# Boot sector of the KVM probe: does what a boot loader and a kernel do first, then writes 0x10 to qemu's exit port 0xf4
# (exit code 33). Whatever the hypervisor cannot do on the way shows as another end, or as none within the bound.
#   as probe.S -o probe.o && ld -Ttext 0x7c00 --oformat binary probe.o -o probe.bin
        .code16
        .globl _start
_start: xor %ax, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $0x7c00, %sp
        # Disk reads: the BIOS goes to protected mode and back for each.
        mov $64, %si
1:      mov $0x0201, %ax
        mov $0x0001, %cx
        mov $0x0080, %dx
        mov $0x8000, %bx
        int $0x13
        dec %si
        jnz 1b
        # Timer ticks wake the halted CPU.
        sti
        mov $4, %si
2:      hlt
        dec %si
        jnz 2b
        cli
        lgdt gdt
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmp $0x08, $protected

        .code32
protected:
        mov $0x10, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $0x7000, %esp
        # Interrupts and their return in protected mode, as boot loaders use them.
        mov $0x9100, %edi
        movl $(0x00080000 + return32 - _start + 0x7c00), (%edi)
        movl $0x8e00, 4(%edi)
        lidt idt
        mov $1000, %ecx
3:      int $0x20
        loop 3b
        # Long mode with one large page.
        mov $0x1000, %edi
        xor %eax, %eax
        mov $0xc00, %ecx
        rep stosl
        movl $0x2003, 0x1000
        movl $0x3003, 0x2000
        movl $0x0083, 0x3000
        mov $0x1000, %eax
        mov %eax, %cr3
        mov %cr4, %eax
        or $0x20, %al
        mov %eax, %cr4
        mov $0xc0000080, %ecx
        rdmsr
        or $0x100, %eax
        wrmsr
        mov %cr0, %eax
        or $0x80000000, %eax
        mov %eax, %cr0
        ljmp $0x18, $long
return32:
        iret

        .code64
long:   mov $0x9200, %edi
        movl $(0x00180000 + return64 - _start + 0x7c00), (%rdi)
        movl $0x8e00, 4(%rdi)
        movq $0, 8(%rdi)
        lidt idt
        mov $1000, %ecx
4:      int $0x20
        loop 4b
        mov $0x10, %al
        out %al, $0xf4
5:      hlt
        jmp 5b
return64:
        iretq

        .balign 8
gdt0:   .quad 0
        .quad 0x00cf9a000000ffff
        .quad 0x00cf92000000ffff
        .quad 0x00af9a000000ffff
gdt:    .word . - gdt0 - 1
        .long gdt0
idt:    .word 0xfff
        .quad 0x9000
        .org 510
        .word 0xaa55
