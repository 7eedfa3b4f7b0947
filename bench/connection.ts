// One keep-alive connection that speaks just enough HTTP/1.1: a request as bytes, an answer with a length. The load shares its
// core with PostgreSQL, so it must cost far less than the server it drives; node:http costs about as much as Koa itself.
import { connect, type Socket } from 'node:net'

export type Answer = { status: number; head: string; body: string }

export class WrongAnswer extends Error {
  override name = 'WrongAnswer'
}

export class Connection {
  readonly host: string
  readonly #port: number
  #socket: Socket
  /** The server said that it takes nothing more here (RFC 9112 9.6): it does so after some thousand requests. */
  #isOver = false
  #received = ''
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined

  private constructor(socket: Socket, port: number) {
    this.#port = port
    this.host = `localhost:${port}`
    this.#socket = this.#take(socket)
  }

  #take(socket: Socket): Socket {
    socket.setEncoding('latin1') // one character is one byte: Content-Length counts both
    socket.setNoDelay(true)
    socket.on('data', (chunk: string) => this.#receive(chunk))
    // What becomes of one that was given up concerns nobody.
    socket.on('error', (error) => socket === this.#socket && this.#fail(error))
    socket.on(
      'close',
      () => socket === this.#socket && this.#fail(new WrongAnswer(`${this.host} closed the connection`)),
    )
    return socket
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1' })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new Connection(socket, port))
      })
    })
  }

  get(path: string, headers = ''): Promise<Answer> {
    return this.#send(`GET ${path} HTTP/1.1\r\nHost: ${this.host}\r\n${headers}\r\n`)
  }

  /** @param headers each line ended by CRLF. @param form already encoded. */
  post(path: string, headers: string, form: string): Promise<Answer> {
    return this.#send(
      `POST ${path} HTTP/1.1\r\nHost: ${this.host}\r\n${headers}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${Buffer.byteLength(form)}\r\n\r\n${form}`,
    )
  }

  close(): void {
    this.#waiting = undefined
    this.#socket.destroy()
  }

  #send(request: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#waiting) throw new Error('one request at a time')
      if (this.#isOver) this.#renew()
      if (this.#socket.destroyed) return reject(new WrongAnswer(`${this.host} closed the connection`))
      this.#waiting = { resolve, reject }
      this.#socket.write(request)
    })
  }

  #renew(): void {
    this.#isOver = false
    this.#received = ''
    const former = this.#socket
    this.#socket = this.#take(connect({ port: this.#port, host: '127.0.0.1' }))
    former.destroy()
  }

  #receive(chunk: string): void {
    this.#received = this.#received === '' ? chunk : this.#received + chunk
    const end = this.#received.indexOf('\r\n\r\n')
    if (end < 0) return
    const head = this.#received.slice(0, end + 2)
    const status = Number(head.slice(9, 12))
    const length = status === 204 || status === 304 ? '0' : header(head, 'content-length')
    if (length === undefined) {
      this.#fail(new WrongAnswer(`an answer without a length:\n${head}`))
      return
    }
    const total = end + 4 + Number(length)
    if (this.#received.length < total) return
    const body = this.#received.slice(end + 4, total)
    this.#received = this.#received.slice(total)
    this.#isOver = head.includes('onnection: close\r\n')
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve({ status, head, body })
  }

  #fail(error: Error): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.reject(error)
  }
}

/** @param name in lower case. */
export function header(head: string, name: string): string | undefined {
  // Node writes header names as the application gave them: `Content-Length` and `Location` as a rule.
  const at = head.search(new RegExp(`^${name}:`, 'im'))
  return at < 0 ? undefined : head.slice(at + name.length + 1, head.indexOf('\r\n', at)).trim()
}
