/*
 * From the multiboot loader to 64-bit user mode. `setup` runs at CPL 0, which page-table KVM emulates; `run_tests` runs
 * at CPL 3, on the processor, with an I/O permission bitmap that opens every port and with all of memory mapped for it.
 */
#define CODE 0x08
#define DATA 0x10
#define USER_DATA 0x1b
#define USER_CODE 0x23
#define TSS 0x28
#define TSS_SIZE 104
#define IO_BITMAP_SIZE 8192
#define EFER 0xc0000080
#define EFER_LME 0x100
#define CR4_PAE 0x20
#define CR0_PG_NE_ET_PE 0x80000031
#define RFLAGS_IF 0x202
#define LAPIC_EOI 0xfee000b0
#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_MEMORY_INFO 2

  .section .multiboot, "a"
  .align 4
  .long MULTIBOOT_MAGIC, MULTIBOOT_MEMORY_INFO, -(MULTIBOOT_MAGIC + MULTIBOOT_MEMORY_INFO)

  .text
  .code32
  .globl start
start:
  cli
  lgdt gdt_pointer
  movl $tss, %eax
  movw %ax, gdt + TSS + 2
  shrl $16, %eax
  movb %al, gdt + TSS + 4
  movb %ah, gdt + TSS + 7
  movl $CR4_PAE, %eax
  movl %eax, %cr4
  movl $pml4, %eax
  movl %eax, %cr3
  movl $EFER, %ecx
  movl $EFER_LME, %eax
  xorl %edx, %edx
  wrmsr
  movl $CR0_PG_NE_ET_PE, %eax
  movl %eax, %cr0
  ljmp $CODE, $long_mode

  .code64
long_mode:
  movl $DATA, %eax
  movl %eax, %ss
  movl %eax, %ds
  movl %eax, %es
  movl $kernel_stack_end, %esp
  movl $TSS, %eax
  ltr %ax
  lidt idt_pointer
  movl %ebx, %edi
  call setup
  pushq $USER_DATA
  pushq $user_stack_end
  pushq $RFLAGS_IF
  pushq $USER_CODE
  pushq $user
  iretq
user:
  movl $USER_DATA, %eax
  movl %eax, %ds
  movl %eax, %es
  call run_tests
  ud2

/* As few instructions as possible: at CPL 0 each is emulated by page-table KVM. */
  .globl on_device_interrupt
on_device_interrupt:
  pushq %rax
  incq interrupts_taken
  movl $LAPIC_EOI, %eax
  movl $0, (%rax)
  popq %rax
  iretq

/*
 * Halts for CPL 3 (interrupts.c), rdi: the count of interrupts that the caller has seen. Sleeps unless there was one
 * since. The way in is an undefined instruction: page-table KVM does not emulate the int instruction.
 */
  .globl halt
halt:
  ud2
  ret
  .globl on_undefined
on_undefined:
  cmpq $halt, (%rsp)
  jne exception_stubs + 6 * 16
  addq $2, (%rsp)
  cmpq %rdi, interrupts_taken
  jne 1f
  sti
  hlt
1:
  iretq

/* Exceptions: an error code (0 where the processor pushes none) and the vector on the stack. */
  .set vector, 0
  .globl exception_stubs
  .align 16
exception_stubs:
  .rept 32
  .align 16
  .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
  pushq $0
  .endif
  pushq $vector
  jmp on_exception
  .set vector, vector + 1
  .endr
on_exception:
  movq (%rsp), %rdi
  movq 8(%rsp), %rsi
  movq 16(%rsp), %rdx
  movq %cr2, %rcx
  andq $-16, %rsp
  call fault

  .data
  .align 16
gdt:
  .quad 0
  .quad 0x00af9b000000ffff
  .quad 0x00cf93000000ffff
  .quad 0x00cff3000000ffff
  .quad 0x00affb000000ffff
  /* An available 64-bit TSS; its base is put in at the start. */
  .quad 0x0000890000000000 | (TSS_SIZE + IO_BITMAP_SIZE)
  .quad 0
gdt_end:
gdt_pointer:
  .word gdt_end - gdt - 1
  .long gdt
idt_pointer:
  .word 256 * 16 - 1
  .quad idt

  .align 16
tss:
  .long 0
  .quad interrupt_stack_end
  .fill TSS_SIZE - 14, 1, 0
  .word TSS_SIZE
  /* Zeros open the ports; the processor wants a byte of ones behind them. */
  .fill IO_BITMAP_SIZE, 1, 0
  .byte 0xff

/* Large pages, open to CPL 3: the first GiB (RAM) and the fourth (PCI hole, local APIC). */
#define TABLE_FLAGS 0x07
#define LARGE_FLAGS 0x87
  .align 4096
  .globl pml4
pml4:
  .quad pdpt + TABLE_FLAGS
  .fill 511, 8, 0
pdpt:
  .quad low_pages + TABLE_FLAGS, 0, 0, hole_pages + TABLE_FLAGS
  .fill 508, 8, 0
  .set page, 0
low_pages:
  .rept 512
  .quad (page << 21) + LARGE_FLAGS
  .set page, page + 1
  .endr
  .set page, 3 * 512
hole_pages:
  .rept 512
  .quad (page << 21) + LARGE_FLAGS
  .set page, page + 1
  .endr

  .bss
  .align 4096
  .globl idt
idt:
  .skip 4096
  .skip 16384
kernel_stack_end:
  .skip 16384
interrupt_stack_end:
  .skip 65536
user_stack_end:

  .section .note.GNU-stack, "", @progbits
